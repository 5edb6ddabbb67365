// How a camera was held: the orientation that photos carry (EXIF, TIFF tag 274), and pictures turned upright by it.
// Sits on image.h; used by the decoders and image_files.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "train/pictures/image.h"

namespace asap::train {

// The orientation 1 to 8 in the first folder of an EXIF block, with or without its heading "Exif\0\0"; 1, as it stands, where it
// says none or is damaged, as in viewers. Source: CIPA DC-008 (EXIF 2.32), sections 4.5.2 and 4.6.4; TIFF 6.0, section 2.
int exif_orientation(std::span<const uint8_t> exif);

// Whether it exchanges width and height.
inline bool lies_on_its_side(int orientation) { return orientation >= 5; }

// The picture as it is to be seen.
Image turned_upright(Image picture, int orientation);
LabelMap turned_upright(LabelMap picture, int orientation);

}  // namespace asap::train
