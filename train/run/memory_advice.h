// What to answer a card or a machine that is too small for a training run: smaller settings that fit, by estimate.
// Used by trainer.cpp and cli_train.cpp.
#pragma once

#include <string>

#include "tensor/storage.h"
#include "train/options/options.h"

namespace asap::train {

// Bytes that a training iteration needs at its peak, by estimate: parameters with gradients and Adam's moments (one
// with beta1 = 0), the perceptual net, and 4.5 KiB for each pixel of the batch (docs/results.md: 1.5 GiB at 256, 2.3 at 512).
double training_bytes(const Options& options, int64_t batch_size, int64_t crop_size);

// A clause: "--batch-size 2 or --crop-size 256 would fit in 8192 MiB, by estimate", or that not even the smallest would.
// `device_bytes`: all that the device has; 0: what this process may have of the machine's memory. Where the estimate says
// that the settings should have fitted, others hold the rest, and half of the settings' need is what must do.
std::string smaller_settings(const Options& options, size_t device_bytes);

}  // namespace asap::train
