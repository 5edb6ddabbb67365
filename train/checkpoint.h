// Checkpoints of a run. RUN/checkpoints/step_000123/ holds G, D (and E), both optimisers' states and trainer.json;
// RUN/checkpoints/latest names the newest complete one. A folder is written whole before `latest` is renamed to name
// it, so whenever the machine dies, a loadable checkpoint is there. Sits on nn/safetensors.h. Next: trainer.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "asapnet/model.h"

namespace asap::train {

// Where the training stands. Sample order and augmentation follow from seed, epoch and position; the noise has an
// offset.
struct TrainerState {
  int64_t step = 0;               // steps done
  int64_t batches_per_epoch = 0;  // epoch and position follow: step / batches_per_epoch, and the remainder
  uint64_t noise_seed = 0, noise_offset = 0;
  double lr = 0;  // of the last step, before TTUR's factors
};

// Writes a checkpoint, makes it the latest and, unless keep_earlier, removes the others. asap::Error: a weight that is
// not finite (nothing is written then), or the disk's reason; the earlier checkpoint is then untouched.
// Returns the new folder.
std::filesystem::path save_checkpoint(const std::filesystem::path& run, asapnet::AsapNet& model, asapnet::GanStep& gan,
                                      const TrainerState& state, bool keep_earlier);

// The folder `latest` names, or an empty path if the run has no checkpoint yet.
std::filesystem::path latest_checkpoint(const std::filesystem::path& run);

// "the last checkpoint is RUN/checkpoints/step_000100", or that there is none: the end of a sentence about a failure.
std::string last_checkpoint_text(const std::filesystem::path& run);

// Restores everything save_checkpoint saved. asap::Error names the file that is missing or does not fit.
TrainerState load_checkpoint(const std::filesystem::path& folder, asapnet::AsapNet& model, asapnet::GanStep& gan);

// Loads one network's weights from a .pth or .safetensors file; strict about keys and finite numbers. Wrappers around the
// network's names are taken off and told to standard error (nn/network_weights.h).
void load_weights(const std::filesystem::path& file, nn::Module& network);

}  // namespace asap::train
