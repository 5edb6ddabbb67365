# The installed package: find_package(asapnet) gives asap::tensor, asap::autograd, asap::nn and asap::asapnet (each with
# what it needs), asap::train (pictures, data sets, loaders), for kernels asap::kernel, asap::testing, asap::bench and asap_add_kernel(), headers under include/asapnet/, and
# the program, asap::program. Tested by tests/consumer.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/asapnet)
set_target_properties(asap_flags PROPERTIES EXPORT_NAME flags)
install(TARGETS asap_flags asap_cuda asap_tensor asap_autograd asap_nn asap_asapnet asap_kernel asap_testing asap_yardsticks asap_bench
        EXPORT asapnet
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
# Apart from the others, since it needs the picture formats' libraries.
install(TARGETS asap_train EXPORT asapnet_train ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS asapnet EXPORT asapnet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(room tensor autograd nn asapnet)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/asapnet
          FILES_MATCHING PATTERN "*.h" PATTERN "cpu" EXCLUDE)
endforeach()
foreach(room files pictures data synth)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/train/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/asapnet/train FILES_MATCHING PATTERN "*.h")
endforeach()
foreach(header tensor/cpu/parallel.h tensor/cpu/workspace.h tests/op_cases.h tests/check_kernels.h tests/gradcheck.h bench/machine_peak.h
               bench/verified_row.h bench/kit/kernel_bench.h bench/kit/bench_report.h bench/kit/shape_rows.h)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES ${PROJECT_SOURCE_DIR}/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/asapnet/${folder})
endforeach()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cuda DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/asapnet
        FILES_MATCHING PATTERN "*.h" PATTERN "*.cuh")
# The emulated card, for .cu files without one: objects, which take the place of the library's own backend where they are linked.
if(TARGET asap_cuda_emulated)
  set_target_properties(asap_cuda_emulated PROPERTIES EXPORT_NAME cuda_emulated)
  install(TARGETS asap_cuda_emulated EXPORT asapnet OBJECTS DESTINATION ${CMAKE_INSTALL_LIBDIR}/asapnet)
endif()
# What is to be built before cmake --install: not all of the tests.
add_custom_target(installed DEPENDS asapnet asap_bench asap_asapnet $<TARGET_NAME_IF_EXISTS:asap_cuda_emulated>)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT asapnet NAMESPACE asap:: FILE asapnet-targets.cmake DESTINATION ${package_folder})
install(EXPORT asapnet_train NAMESPACE asap:: FILE asapnet-train-targets.cmake DESTINATION ${package_folder})
get_property(asap_optional_formats GLOBAL PROPERTY asap_optional_formats)
list(JOIN asap_optional_formats " " asap_optional_formats)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/asapnet-config.cmake.in ${PROJECT_BINARY_DIR}/asapnet-config.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/asapnet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/asapnet-config.cmake ${PROJECT_BINARY_DIR}/asapnet-config-version.cmake
              ${CMAKE_CURRENT_LIST_DIR}/FindLIBZIP.cmake ${CMAKE_CURRENT_LIST_DIR}/FindWebP.cmake ${CMAKE_CURRENT_LIST_DIR}/asap_add_kernel.cmake
              ${CMAKE_CURRENT_LIST_DIR}/kernel_check_main.cpp
        DESTINATION ${package_folder})
