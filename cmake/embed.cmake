# asap_embed(TARGET FUNCTION FILE): compiles FILE's bytes into TARGET; `std::string_view asap::train::FUNCTION()`, to be declared by
# whoever calls it, returns them. A zero byte follows.
function(asap_embed target function file)
  get_filename_component(file ${file} ABSOLUTE)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${function}.cpp)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/embedded.cpp.in ${source} @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${file})
  target_sources(${target} PRIVATE ${source})
endfunction()
