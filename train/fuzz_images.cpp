// libFuzzer target: whatever the bytes, the picture readers return a picture or throw asap::Error, and touch no foreign memory.
// Built with ASAP_BUILD_FUZZ=ON; not part of the library.
#include <cstddef>
#include <cstdint>

#include "tensor/error.h"
#include "train/image_files.h"
#include "train/png.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(data, size);
  try {
    asap::train::decode_photo(bytes, "photo");
  } catch (const asap::Error&) {
  }
  try {
    asap::train::decode_png_indices(bytes, "map", 16, "a map");
  } catch (const asap::Error&) {
  }
  return 0;
}
