// Checkpoints of a run. RUN/checkpoints/step_000123/ holds G, D (and E, and G_ema, the average of G's weights), both
// optimisers' states and trainer.json, which has a checksum of every file; RUN/checkpoints/latest names the newest, and
// RUN/checkpoints/best, where a run is judged, the one that did best. A folder is written whole under another name before it
// gets its own, and `latest` is renamed to name it last: whenever the machine dies, a loadable checkpoint is there. Sits on
// nn/safetensors.h. Next: trainer.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "asapnet/model.h"
#include "nn/network_weights.h"

namespace asap::train {

// Where the training stands. Sample order and augmentation follow from seed, epoch and position; the noise has an
// offset.
struct TrainerState {
  int64_t step = 0;               // steps done
  int64_t batches_per_epoch = 0;  // steps' batches: epoch and position follow: step / batches_per_epoch, and the remainder
  uint64_t noise_seed = 0, noise_offset = 0;
  double lr = 0;                                // of the last step, before TTUR's factors
  int ranks = 1;                                // that trained it
  std::map<std::string, std::string> settings;  // what a resumed run must not change (options.h), as text by key
};

// "step_000123": the name of that step's checkpoint, and of its samples.
std::string step_name(int64_t step);

// asap::Error naming the weight unless all are finite: a gradient may overflow although the losses were finite, and such
// weights must not replace good ones on disk.
void check_weights(asapnet::AsapNet& model);

// Writes a checkpoint and makes it the latest. A folder of its name with another content is kept under NAME.old.
// asap::Error: the disk's reason; the earlier checkpoints are then untouched. Returns the new folder.
std::filesystem::path save_checkpoint(const std::filesystem::path& run, asapnet::AsapNet& model, asapnet::GanStep& gan,
                                      const TrainerState& state);

// Removes the checkpoints of earlier steps that save_checkpoint wrote and nobody added to, but the best one; touches nothing else.
void remove_earlier_checkpoints(const std::filesystem::path& run, int64_t step);

// What RUN/checkpoints/best says: the folder's name, and on a second line the score by which it is the best, and its value.
struct BestCheckpoint {
  std::filesystem::path folder;
  std::string score;
  double value = 0;
};
// Nothing if there is no such file, or no such folder.
std::optional<BestCheckpoint> best_checkpoint(const std::filesystem::path& run);
// `best.folder` is there, whole. Replaces the file whole or not at all.
void mark_best(const std::filesystem::path& run, const BestCheckpoint& best);

// The folder that a file RUN/checkpoints/best or latest names; any other path as it is. asap::Error: such a file names no checkpoint,
// or one that is not there.
std::filesystem::path named_checkpoint(const std::filesystem::path& path);

struct FoundCheckpoint {
  std::filesystem::path folder;  // empty: there is none
  std::string note;              // a sentence for the user if it is not the one that `latest` names
};

// The folder that `latest` names, whole or not; if `latest` or that folder is missing, the newest complete one.
FoundCheckpoint find_checkpoint(const std::filesystem::path& run);
std::filesystem::path latest_checkpoint(const std::filesystem::path& run);  // its folder

// The generator that a checkpoint is for: the average of its weights where one was kept, else those of the last step.
std::filesystem::path generator_file(const std::filesystem::path& checkpoint);

// The newest complete checkpoint beside `folder`, or an empty path. Complete: trainer.json can be read, and the files
// have the checksums that it holds.
std::filesystem::path whole_checkpoint_beside(const std::filesystem::path& folder);

// "the last good checkpoint is RUN/checkpoints/step_000100", or that there is none: the end of a sentence about a
// failure.
std::string last_checkpoint_text(const std::filesystem::path& run);

// Whether a name in RUN/checkpoints is that of a checkpoint which a killed process left half written or half removed.
bool is_unfinished_checkpoint(const std::string& name);
// Removes those. Only for whoever has the run's lock (run_folder.h).
void remove_unfinished_checkpoints(const std::filesystem::path& run);

// A file's CRC-32 in eight hexadecimal digits.
std::string file_checksum(const std::filesystem::path& path);

// asap::Error naming the file if trainer.json beside it holds another checksum for it. Weights that no trainer.json
// speaks of pass, and so do checkpoints from before there were checksums.
void check_unchanged(const std::filesystem::path& file);

// What trainer.json says. asap::Error: missing, damaged, something else.
TrainerState read_trainer_state(const std::filesystem::path& checkpoint);

// Restores everything save_checkpoint saved. asap::Error names the file that is missing, damaged or does not fit.
TrainerState load_checkpoint(const std::filesystem::path& folder, asapnet::AsapNet& model, asapnet::GanStep& gan);

// Loads one network's weights from a .pth or .safetensors file; strict about keys and finite numbers. Wrappers around the
// network's names are taken off and told to standard error (nn/network_weights.h). asap::Error as check_unchanged. `form` as in
// NetworkWeights::load_into.
void load_weights(
    const std::filesystem::path& file, nn::Module& network, const nn::Form& form = [](const Tensor& x) { return x; });

}  // namespace asap::train
