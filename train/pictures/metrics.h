// Numbers that compare two pictures, or tell something about one. All in f64 over 8-bit values; docs/evaluate.md says what
// they mean. Sits on image.h. Used by evaluate.
#pragma once

#include <span>
#include <vector>

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

// How well predicted classes agree with label maps, over any number of pictures (Long, Shelhamer, Darrell 2015, section 5). Pixels
// of a label outside 0..classes-1 count nowhere.
class Confusion {
 public:
  explicit Confusion(int classes) : classes_(classes), counts_(size_t(classes) * classes) {}

  // predicted: a class 0..classes-1 for every pixel, row by row.
  void add(const LabelMap& labels, std::span<const int32_t> predicted);
  // Those of other pictures, [label][predicted].
  void add(std::span<const double> counts);
  std::vector<double> counts() const { return {counts_.begin(), counts_.end()}; }  // exact below 2^53 pixels

  double pixel_accuracy() const;  // share of the pixels that are right
  double class_accuracy() const;  // the same for each class that occurs in the labels, then the mean over these
  double mean_iou()
      const;  // intersection over union of predicted and labelled pixels, mean over the classes that occur in either

 private:
  int64_t count(int label, int predicted) const { return counts_[size_t(label) * classes_ + predicted]; }
  int64_t labelled(int c) const;
  int64_t predicted(int c) const;

  int classes_;
  std::vector<int64_t> counts_;  // [label][predicted]
};

}  // namespace asap::train
