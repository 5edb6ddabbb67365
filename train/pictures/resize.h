// Resizing that equals Pillow's, bit for bit, so that training pictures are those the published models saw:
// bicubic (a = -0.5, antialiased, 8-bit fixed point) for photos, nearest for label maps.
// Sits on image.h; used by dataset loading. Checked against Pillow's own results in tests/test_images.cpp.
#pragma once

#include "train/pictures/image.h"

namespace asap::train {

// Pillow's Image.resize(size, BICUBIC): the filter is stretched by the scale when shrinking (so it averages), and each of
// the two passes, first along rows, then along columns, rounds to 8 bits. (Pillow 13 began to run the passes in the other
// order where that is cheaper; this is the order of all versions before.) Kernel: Keys 1981, equation 4 with a = -0.5.
// asap::Error unless the new size is positive.
Image resize_bicubic(const Image& image, int width, int height);

// Pillow's Image.resize(size, NEAREST): takes source pixel floor((x + 0.5) * scale).
LabelMap resize_nearest(const LabelMap& labels, int width, int height);

}  // namespace asap::train
