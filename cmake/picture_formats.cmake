# The libraries behind the readers in train/pictures. asap_picture_formats(TARGET): compiles TARGET, which has those sources,
# with them; WebP and TIFF where they are installed, otherwise without webp.cpp and tiff.cpp.
find_package(PNG REQUIRED)
find_package(JPEG REQUIRED)
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb REQUIRED)
find_package(WebP)
find_package(TIFF)

function(asap_picture_formats target)
  target_include_directories(${target} SYSTEM PRIVATE ${STB_INCLUDE_DIR})
  target_link_libraries(${target} PRIVATE PNG::PNG JPEG::JPEG)
  foreach(format WebP TIFF)
    string(TOUPPER ${format} macro)
    string(TOLOWER ${format} source)
    target_compile_definitions(${target} PRIVATE ASAP_${macro}=$<BOOL:${${format}_FOUND}>)
    if(${format}_FOUND)
      target_link_libraries(${target} PRIVATE ${format}::${format})
      set_property(GLOBAL APPEND PROPERTY asap_optional_formats ${format})  # for install.cmake
    else()
      set_source_files_properties(${PROJECT_SOURCE_DIR}/train/pictures/${source}.cpp TARGET_DIRECTORY ${target}
                                  PROPERTIES HEADER_FILE_ONLY ON)
    endif()
  endforeach()
endfunction()
