# The installed package: find_package(asapnet) gives asap::tensor, asap::autograd, asap::nn and asap::asapnet (each with
# what it needs), headers under include/asapnet/, and the program. Tested by tests/consumer.
include(CMakePackageConfigHelpers)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/asapnet)
set_target_properties(asap_flags PROPERTIES EXPORT_NAME flags)
install(TARGETS asap_flags asap_cuda asap_tensor asap_autograd asap_nn asap_asapnet EXPORT asapnet
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS asapnet RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(room tensor autograd nn asapnet)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/asapnet
          FILES_MATCHING PATTERN "*.h" PATTERN "cpu" EXCLUDE)
endforeach()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT asapnet NAMESPACE asap:: FILE asapnet-targets.cmake DESTINATION ${package_folder})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/asapnet-config.cmake.in ${PROJECT_BINARY_DIR}/asapnet-config.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/asapnet-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/asapnet-config.cmake ${PROJECT_BINARY_DIR}/asapnet-config-version.cmake
              ${CMAKE_CURRENT_LIST_DIR}/FindLIBZIP.cmake
        DESTINATION ${package_folder})
