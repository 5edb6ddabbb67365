# find_package(WebP): target WebP::WebP, libwebp with its demultiplexer, from CMAKE_PREFIX_PATH or the usual folders, without
# pkg-config, which not every machine has.
find_path(WebP_INCLUDE_DIR webp/decode.h)
find_library(WebP_LIBRARY webp)
find_library(WebP_DEMUX_LIBRARY webpdemux)
mark_as_advanced(WebP_INCLUDE_DIR WebP_LIBRARY WebP_DEMUX_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(WebP REQUIRED_VARS WebP_LIBRARY WebP_DEMUX_LIBRARY WebP_INCLUDE_DIR
                                  REASON_FAILURE_MESSAGE "Debian and Ubuntu: libwebp-dev")
if(WebP_FOUND AND NOT TARGET WebP::WebP)
  add_library(WebP::WebP INTERFACE IMPORTED)
  set_target_properties(WebP::WebP PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${WebP_INCLUDE_DIR}
                                              INTERFACE_LINK_LIBRARIES "${WebP_DEMUX_LIBRARY};${WebP_LIBRARY}")
endif()
