// Whether a training run fits the card or the machine: what it needs, said before it begins, and smaller settings for one that
// is too small. All by estimate (memory_estimate.h). Used by trainer.cpp and cli_train.cpp.
#pragma once

#include <string>

#include "tensor/storage.h"
#include "train/options/options.h"

namespace asap::train {

// Bytes that a training takes with another batch and crop, by estimate.
double training_bytes(const Options& options, int64_t batch_size, int64_t crop_size);

// "about 1460 MiB: weights 382, gradients and moments 666, activations 80, freed and kept 332; the machine has 24017 MiB": the
// end of a sentence. `too_large`: whether it surely does not fit, even where nothing freed is kept.
struct MemoryNeed {
  std::string text;
  bool too_large = false;
};
MemoryNeed memory_need(const Options& options);

// A clause: "--batch-size 2 or --crop-size 256 would fit in 8192 MiB, by estimate", or that not even the smallest would.
// `device_bytes`: all that the device has; 0: what this process may have of the machine's memory. Where the estimate says
// that the settings should have fitted, others hold the rest, and half of the settings' need is what must do.
std::string smaller_settings(const Options& options, size_t device_bytes);

}  // namespace asap::train
