# A build of its own: the file readers alone, by clang with libFuzzer, address and undefined-behaviour sanitizers. They
# run no kernels, so none are compiled (those use GCC's vector extensions). ROOM/fuzz_NAME.cpp becomes program fuzz_NAME:
#   cmake -B build-fuzz -DASAP_BUILD_FUZZ=ON -DCMAKE_CXX_COMPILER=clang++ && cmake --build build-fuzz
#   mkdir corpus && build-fuzz/fuzz_pth -max_total_time=180 -rss_limit_mb=2048 corpus tests/golden
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "ASAP_BUILD_FUZZ needs clang (libFuzzer), not ${CMAKE_CXX_COMPILER_ID}: -DCMAKE_CXX_COMPILER=clang++")
endif()
find_package(LIBZIP REQUIRED)
include(picture_formats)

set(fuzz_flags -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g)
file(GLOB readers CONFIGURE_DEPENDS nn/checkpoint_file.cpp nn/file_*.cpp nn/pth*.cpp nn/safetensors.cpp nn/tensor_reader.cpp
     train/files/whole_files.cpp train/pictures/*.cpp)
list(FILTER readers EXCLUDE REGEX "/fuzz_[^/]*$")
add_library(asap_readers STATIC ${readers} tensor/kernel_slot.cpp tensor/shape.cpp tensor/storage.cpp tensor/tensor.cpp
            cuda/stub.cpp cmake/fuzz_no_kernels.cpp)
target_compile_options(asap_readers PUBLIC ${fuzz_flags} PRIVATE -fsanitize=fuzzer-no-link)
target_compile_definitions(asap_readers PRIVATE __SANITIZE_ADDRESS__=1)  # as GCC does: storage.cpp then caches no blocks
asap_picture_formats(asap_readers)
target_link_options(asap_readers PUBLIC ${fuzz_flags})
target_link_libraries(asap_readers PUBLIC asap_flags PRIVATE asap_warnings nlohmann_json::nlohmann_json LIBZIP::LIBZIP)

file(GLOB fuzzers CONFIGURE_DEPENDS nn/fuzz_*.cpp train/pictures/fuzz_*.cpp)
foreach(source ${fuzzers})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE asap_readers asap_warnings)
endforeach()
