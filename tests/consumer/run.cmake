# cmake -DBUILD=.. -DSOURCE=.. -DWORK=.. -DCXX=.. -DFLAGS=.. -DBUILD_TYPE=.. -P run.cmake: installs the build into an empty
# prefix, moves the prefix (the package must not know where it was), configures, builds and runs the project beside this
# file against it; then does what docs/kernels.md says, by its commands.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${ARGN}")
  endif()
endfunction()
# build_project(SOURCE): configures and builds it in SOURCE-build.
function(build_project source work)
  run(${CMAKE_COMMAND} -S ${source} -B ${work} -G Ninja -DCMAKE_PREFIX_PATH=${WORK}/prefix -DCMAKE_CXX_COMPILER=${CXX}
      -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_BUILD_TYPE=${BUILD_TYPE})
  run(${CMAKE_COMMAND} --build ${work})
endfunction()

file(REMOVE_RECURSE ${WORK})
file(MAKE_DIRECTORY ${WORK}/run)
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/first)
file(RENAME ${WORK}/first ${WORK}/prefix)
build_project(${SOURCE} ${WORK}/build)
foreach(program tensor_consumer consumer kernel_consumer)
  run(${CMAKE_COMMAND} -E chdir ${WORK}/run ${WORK}/build/${program})
endforeach()
run(${CMAKE_CTEST_COMMAND} --test-dir ${WORK}/build --output-on-failure --no-tests=error)

# Skeletons build, pass and are timed before a line is written.
set(asapnet ${WORK}/prefix/bin/asapnet)
run(${asapnet} kernel new avg_pool2d_backward --device cpu ${WORK}/my_cpu_kernel)
run(${asapnet} kernel new gather_forward --device cuda ${WORK}/my_card_kernel)
foreach(kernel my_cpu_kernel my_card_kernel)
  build_project(${WORK}/${kernel} ${WORK}/${kernel}/build)
  run(${CMAKE_CTEST_COMMAND} --test-dir ${WORK}/${kernel}/build --output-on-failure --no-tests=error)
endforeach()
run(${asapnet} bench --kernel ${WORK}/my_cpu_kernel/build/my_cpu_kernel.so --shape "c=4,h=32" --rounds 3)

# The tree as a part of another project: targets and functions are the same. A kernel library links nothing of ours.
run(${CMAKE_COMMAND} -S ${SOURCE} -B ${WORK}/part -G Ninja -DASAPNET_SOURCE=${SOURCE}/../.. -DASAP_CUDA=OFF -DASAP_EMULATOR=ON
    -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_FLAGS=${FLAGS} -DCMAKE_BUILD_TYPE=${BUILD_TYPE})
run(${CMAKE_COMMAND} --build ${WORK}/part --target pool2x2)
file(REMOVE_RECURSE ${WORK})
