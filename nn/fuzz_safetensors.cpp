// libFuzzer target: any bytes given to open_safetensors are tensors or an asap::Error. Built by cmake/fuzz.cmake;
// start it with tests/golden/*.safetensors as seeds.
#include <cstdlib>

#include "nn/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace asap::nn;
  size_t total = 0;
  try {
    const auto file = open_safetensors({data, size});
    for (const size_t i : file->reading_order()) {
      if (file->raw(i).size() > size) std::abort();
      try {
        total += file->read(i).bytes();
      } catch (const asap::Error&) {  // of this tensor alone
      }
    }
  } catch (const asap::Error&) {
  }
  if (total > 4 * size) std::abort();  // int8 becomes i32; nothing grows more
  return 0;
}
