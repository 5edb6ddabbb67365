// A kernel library: a shared object with kernels of one's own, compiled outside of this tree against the installed headers and
// loaded into a running program. The whole of one:
//
//   #include "tensor/kernel_library.h"
//   static void my_relu(asap::UnaryOp op, const asap::Tensor& x, const asap::UnaryParams& p, asap::Tensor& y) { ... }
//   ASAP_REGISTER_KERNELS() { asap::kernels::unary.add(asap::Device::cpu, "mine", my_relu, takes); }
//
// `asapnet bench --kernel FILE.so` verifies and times it; ASAP_KERNEL_LIBRARY=FILE.so[:FILE.so...] loads it into any run of
// `asapnet`. Next: kernels.h for the signatures, docs/kernels.md for the walk.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "tensor/kernels.h"

// Defines the one function that a kernel library exports. It adds the kernels if library and program were compiled with the
// same contract (ASAP_KERNEL_INTERFACE: version and a hash of the headers, from CMake), and tells which it was compiled with.
#define ASAP_REGISTER_KERNELS()                                                                                   \
  static void asap_add_kernels();                                                                                 \
  extern "C" __attribute__((visibility("default"))) const char* asap_register_kernels(const char* of_program) {   \
    if (std::strcmp(of_program, ASAP_KERNEL_INTERFACE) == 0) asap_add_kernels();                                  \
    return ASAP_KERNEL_INTERFACE;                                                                                 \
  }                                                                                                               \
  static void asap_add_kernels()

namespace asap {

struct NamedVariant {
  KernelSlotBase* slot;
  Device device;
  std::string name;
};
// Every variant of the program; and those that it has more than `before`.
std::vector<NamedVariant> all_variants();
std::vector<NamedVariant> variants_added_since(const std::vector<NamedVariant>& before);

// Loads the library for the rest of the process and returns what it added. asap::Error naming the file: not there, not a
// shared object, no kernel library, or one compiled with another version's headers.
std::vector<NamedVariant> load_kernel_library(const std::string& path);

// Those that ASAP_KERNEL_LIBRARY names, if it is set.
void load_kernel_libraries_of_environment();

}  // namespace asap
