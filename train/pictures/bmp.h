// BMP pictures in memory: RGB through stb_image, which fills in what a cut-off file lacks, so sizes are checked here first; and
// the indices of files with a palette. Used by image_files.cpp only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "train/pictures/image.h"

namespace asap::train {

// A BMP as RGB, alpha dropped. asap::Error starting with `name`: damaged, cut off, too large or compressed.
Image decode_bmp_rgb(std::span<const uint8_t> file, const std::string& name);

// The numbers stored in a BMP: palette indices of up to 8 bits, or what R, G and B agree on. `what` as in png.h.
LabelMap decode_bmp_values(std::span<const uint8_t> file, const std::string& name, const std::string& what);

}  // namespace asap::train
