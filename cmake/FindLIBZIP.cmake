# find_package(LIBZIP): target LIBZIP::LIBZIP, from CMAKE_PREFIX_PATH or the usual folders, without pkg-config, which not
# every machine has. libzip's own CMake package is no help: Debian's asks for programs that its libzip-dev does not
# bring. Installed beside asapnet-config.cmake, which needs it too.
find_path(LIBZIP_INCLUDE_DIR zip.h)
find_library(LIBZIP_LIBRARY zip)
mark_as_advanced(LIBZIP_INCLUDE_DIR LIBZIP_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LIBZIP REQUIRED_VARS LIBZIP_LIBRARY LIBZIP_INCLUDE_DIR
                                  REASON_FAILURE_MESSAGE "Debian and Ubuntu: libzip-dev")
if(LIBZIP_FOUND AND NOT TARGET LIBZIP::LIBZIP)
  add_library(LIBZIP::LIBZIP UNKNOWN IMPORTED)
  set_target_properties(LIBZIP::LIBZIP PROPERTIES IMPORTED_LOCATION ${LIBZIP_LIBRARY}
                                                  INTERFACE_INCLUDE_DIRECTORIES ${LIBZIP_INCLUDE_DIR})
endif()
