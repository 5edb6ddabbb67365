// Numbers that compare two pictures, or tell something about one. All in f64 over 8-bit values; docs/evaluate.md says what
// they mean. Sits on image.h. Used by evaluate.
#pragma once

#include "train/pictures/image.h"

namespace asap::train {

// All take pictures of equal size and channels; asap::Error otherwise, and where the least side is not there.

// Peak signal-to-noise ratio in dB: 10 log10(255^2 / mean squared error); infinite for equal pictures.
double psnr(const Image& a, const Image& b);

// Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004): 11x11 Gaussian window of deviation 1.5 where it lies inside
// the picture, C1 = (0.01*255)^2, C2 = (0.03*255)^2, the mean over places and channels.
inline constexpr int kSsimSide = 11;  // the least side
double ssim(const Image& a, const Image& b);

// Its multi-scale form (Wang, Simoncelli, Bovik 2003) of five scales, each half as large as the one before by the mean of 2x2
// pixels (an odd last row or column is dropped); for each channel, then the mean over channels.
inline constexpr int kMsSsimSide = kSsimSide * 16;
double ms_ssim(const Image& a, const Image& b);

// Seams of tiles: the mean absolute difference of neighbouring pixels across the borders of tile x tile squares, over that
// of all other neighbours. 1: borders differ from the rest in nothing. 1 for a picture of one colour, infinite where only
// borders differ. asap::Error unless the tile has two pixels and the picture more than one tile.
double tile_seams(const Image& picture, int tile);

}  // namespace asap::train
