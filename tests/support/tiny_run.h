// A model and a dataset so small that a training step takes milliseconds: what the tests of training and of the program
// run on.
#pragma once

#include <fstream>
#include <sstream>

#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/options/resolve.h"
#include "train/synth/synth.h"

namespace asap::tests {

// Synthetic facades of 32x32: 6 to train (2 batches of 3), 2 to test.
inline std::filesystem::path make_tiny_data(const std::filesystem::path& folder) {
  train::write_synthetic_facades(folder, {.count = 8, .size = 32, .seed = 5, .test_share = 0.25, .threads = 1});
  return folder;
}

inline asapnet::Config tiny_model() {
  return {.crop_size = 32,
          .learned_ds_factor = 2,
          .lr_width = 4,
          .lr_max_width = 8,
          .lr_depth = 1,
          .hr_width = 8,
          .hr_depth = 2,
          .reflection_pad = true,
          .ndf = 4,
          .ndf_max = 8,
          .n_layers_D = 2,
          .ngf = 2,
          .z_dim = 4,
          .no_vgg_loss = true};
}

// Not resolved yet.
inline train::Options tiny_options(const std::filesystem::path& data) {
  train::Options options;
  options.model = tiny_model();
  options.train.dataroot = data.string();
  options.train.batchSize = 3;
  options.train.steps = 6;
  options.train.threads = 1;
  options.train.seed = 7;
  options.train.device = name(test_device());
  return options;
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace asap::tests
