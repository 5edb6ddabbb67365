# Kernels from outside of the tree. asap::kernel is what one is compiled against: the headers, and in ASAP_KERNEL_INTERFACE the
# contract that a program compares before it loads one (tensor/kernel_library.h): version and a hash of these headers.
set(contract)
foreach(header tensor/kernels.h tensor/kernel_slot.h tensor/tensor.h tensor/storage.h tensor/shape.h tensor/dtype.h
               tensor/definitions/elementwise_table.h cuda/common.cuh cuda/context.h)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${header})
  file(SHA256 ${PROJECT_SOURCE_DIR}/${header} hash)
  string(APPEND contract ${hash})
endforeach()
string(SHA256 contract ${contract})
string(SUBSTRING ${contract} 0 12 contract)
set(ASAP_KERNEL_INTERFACE "${PROJECT_VERSION}-${contract}")
set_source_files_properties(tensor/kernel_library.cpp TARGET_DIRECTORY asap_tensor
                            PROPERTIES COMPILE_DEFINITIONS ASAP_KERNEL_INTERFACE="${ASAP_KERNEL_INTERFACE}")

add_library(asap_kernel INTERFACE)
add_library(asap::kernel ALIAS asap_kernel)
set_target_properties(asap_kernel PROPERTIES EXPORT_NAME kernel)
target_link_libraries(asap_kernel INTERFACE asap_flags OpenMP::OpenMP_CXX)
target_compile_definitions(asap_kernel INTERFACE ASAP_KERNEL_INTERFACE="${ASAP_KERNEL_INTERFACE}")
# As the built-in kernels are compiled: no errno from sqrt, no reassociation.
target_compile_options(asap_kernel INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno -fno-trapping-math>
                                             $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr --extended-lambda>)
include(cmake/asap_add_kernel.cmake)
