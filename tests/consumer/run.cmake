# cmake -DBUILD=.. -DSOURCE=.. -DWORK=.. -DCXX=.. -DFLAGS=.. -DBUILD_TYPE=.. -P run.cmake: installs the build into an empty
# prefix, moves the prefix (the package must not know where it was), configures, builds and runs the project beside this
# file against it.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${ARGN}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/run)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first)
file(RENAME ${WORK}/first ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/build -G Ninja -DCMAKE_PREFIX_PATH=${WORK}/prefix -DCMAKE_CXX_COMPILER=${CXX}
    -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_BUILD_TYPE=${BUILD_TYPE})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${CMAKE_COMMAND} -E chdir ${WORK}/run ${WORK}/build/tensor_consumer)
run(${CMAKE_COMMAND} -E chdir ${WORK}/run ${WORK}/build/consumer)
file(REMOVE_RECURSE ${WORK})
