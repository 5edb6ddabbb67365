// Synthetic facades: label maps in the 12 CMP classes and photos rendered from them, so that everything runs without a download.
// A picture is a pure function of (size, seed, index), the same on every machine. Four steps: plan.cpp (which part goes
// where), paint.cpp (colour and relief), light.cpp (sun, sky, shadow), synth.cpp (files).
#pragma once

#include <cstdint>
#include <filesystem>

#include "train/pictures/image.h"

namespace asap::train {

struct SyntheticFacade {
  LabelMap label;  // 1 background .. 12 shop, as in the CMP base set (0 is unused)
  Image photo;     // RGB, of equal size
};

// Facade number `index` of a seed, size x size pixels (32 to 2048). `same_style`: material, colours and light follow from the seed
// alone, so that a photo is nearly a function of its label map.
SyntheticFacade make_synthetic_facade(int size, uint64_t seed, int64_t index, bool same_style = false);

struct SynthOptions {
  int count = 100;  // 1 to 9999
  int size = 256;   // pixels a side
  uint64_t seed = 1;
  bool same_style = false;
  double test_share = 0.1;  // of the pairs, rounded; the first ones, as in the published split
  int threads = 0;          // 0: one for each processor; the files do not depend on it
};

// Writes FOLDER/base/cmp_bNNNN.jpg and .png (NNNN from 0001) and FOLDER/split_train.txt, split_test.txt: the layout that
// the facades dataset reads. Creates the folder. asap::Error if a file of these names exists (nothing is written then)
// or cannot be written, or if an option is out of range.
void write_synthetic_facades(const std::filesystem::path& folder, const SynthOptions& options);

}  // namespace asap::train
