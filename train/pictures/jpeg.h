// JPEG pictures through libjpeg, in memory, with its default settings, so that pixels equal those of other programs that use it.
// Errors here don't know a file name: callers pass `name` to start the sentence. Used by image_files.cpp only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

// A JPEG as RGB: gray is tripled; four components are CMYK stored inverted, which is Adobe's convention and what viewers assume
// of files without its marker too. Baseline, extended, progressive and (where libjpeg can) arithmetic-coded, 8 bits.
// `orientation` becomes the EXIF orientation, which is not applied. asap::Error: damaged or cut off (also where an end marker
// was put behind the cut), of a kind that libjpeg does not read, or of more than 200 scans.
Image decode_jpeg(std::span<const uint8_t> file, const std::string& name, int& orientation);

// A baseline JPEG of a picture with 1 (gray) or 3 (RGB) channels, quality 1 to 100; above 90 colour keeps its full resolution.
std::vector<uint8_t> encode_jpeg(const Image& image, int quality, const std::string& name);

}  // namespace asap::train
