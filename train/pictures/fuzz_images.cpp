// libFuzzer target: whatever the bytes, the picture readers of all formats return a picture or throw asap::Error, and touch no
// foreign memory. Built with ASAP_BUILD_FUZZ=ON; not part of the library. Seeds: tests/golden/pictures.
#include <cstddef>
#include <cstdint>

#include "tensor/error.h"
#include "train/pictures/image_files.h"
#include "train/pictures/orientation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(data, size);
  try {
    asap::train::decode_photo(bytes, "photo");
  } catch (const asap::Error&) {
  }
  try {
    asap::train::decode_label_map(bytes, "map");
  } catch (const asap::Error&) {
  }
  const int orientation = asap::train::exif_orientation(bytes);
  if (orientation < 1 || orientation > 8) __builtin_trap();
  return 0;
}
