// WebP pictures through libwebp, in memory; compiled where it is installed (kReadsWebp). Used by image_files.cpp only.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "train/pictures/image.h"

namespace asap::train {

// A WebP, lossy or lossless, as RGB, alpha dropped. `orientation` becomes that of its EXIF block, which is not applied.
// asap::Error starting with `name`: damaged, cut off, too large, or an animation.
Image decode_webp(std::span<const uint8_t> file, const std::string& name, int& orientation);

}  // namespace asap::train
