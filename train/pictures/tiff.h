// TIFF pictures through libtiff, in memory; compiled where it is installed (kReadsTiff). The first page counts.
// Used by image_files.cpp only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "train/pictures/image.h"

namespace asap::train {

// A TIFF of 1 to 8 or 16 bits a channel, gray, palette, RGB or (compressed as JPEG) YCbCr, as 8-bit RGB: alpha dropped, 16 bit cut
// to 8. `orientation` becomes that of its tag, which is not applied. asap::Error starting with `name`: damaged, cut off, too
// large, or of another kind.
Image decode_tiff_rgb(std::span<const uint8_t> file, const std::string& name, int& orientation);

// The numbers stored in a TIFF without loss: palette indices, gray values, or what R, G and B agree on. `what` as in png.h.
LabelMap decode_tiff_values(std::span<const uint8_t> file, const std::string& name, const std::string& what,
                            int& orientation);

}  // namespace asap::train
