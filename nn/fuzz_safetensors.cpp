// libFuzzer target: any bytes given to parse_safetensors are tensors or an asap::Error. Built by cmake/fuzz.cmake;
// start it with tests/golden/*.safetensors as seeds.
#include <cstdlib>

#include "nn/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace asap::nn;
  try {
    size_t total = 0;
    for (const auto& [name, tensor] : parse_safetensors({data, size}).tensors) total += tensor.bytes();
    if (total > 4 * size) std::abort();  // int8 becomes i32; nothing grows more
  } catch (const asap::Error&) {
  }
  return 0;
}
