// Training the segmenter (asapnet/segmenter.h) on the photos and label maps of a data set. Next: judge.h, which uses it.
#pragma once

#include <filesystem>
#include <functional>

#include "train/options/options.h"

namespace asap::train {

struct SegmenterTraining {
  std::filesystem::path out =
      {};  // .safetensors, with the metadata network, classes and size; an earlier one is written over
  int64_t steps = 1500, batch_size = 4;
  int64_t width = 24, levels = 4;  // channels of the first level, doubled at each further one
  double lr = 2e-3;                // AdamW's; warms up for a twentieth of the steps, then falls as a cosine to zero
};

// Cross entropy over the pixels whose label is a class, pictures cropped and mirrored as in a training of the generator. Of `options`,
// which must be resolved: the data set, crop_size, label_nc, preprocessing, seed, threads. Prints its progress. Equal settings and
// threads give equal files. Saves what was learned when `stop` says so before a step, too, and returns the steps done. asap::Error: settings, data, a loss that is not finite, an output that is one of the pictures.
int64_t train_segmenter(const Options& options, const SegmenterTraining& training,
                        const std::function<bool()>& stop = [] { return false; });

}  // namespace asap::train
