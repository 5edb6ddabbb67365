// Trainer: trains an ASAPNet on a dataset into a run folder (SPEC section 5), or continues a run. The run folder holds
//   config.json       every option, readable by --config
//   log.jsonl         one object a step (run_log.h)
//   checkpoints/      latest, step_000123/ (checkpoint.h)
//   samples/          step_000123.png: label | generated | real
//   report.html       curves, samples and settings on one page (report.h)
// A resumed run equals an uninterrupted one bit for bit (same number of threads): order, crops and noise are
// functions of seed, epoch and position, and everything else is in the checkpoint. Next: checkpoint.h, report.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "train/checkpoint.h"
#include "train/options.h"
#include "train/prefetch_loader.h"
#include "train/progress.h"
#include "train/run_log.h"

namespace asap::train {

enum class StartMode { fresh, resume };
enum class Outcome { finished, interrupted };

class Trainer {
 public:
  // Options must be resolved. fresh: makes the run folder, which must not hold a run. resume: restores its latest
  // checkpoint. asap::Error about data, weights or the folder.
  Trainer(const Options& options, const std::filesystem::path& run, StartMode mode);

  // Trains to the end, or until `stop` says so after a step; saves, samples and reports on the way and at the end.
  // asap::Error naming step and loss if a loss is not finite; the last checkpoint then stays.
  Outcome train(const std::function<bool()>& stop);

  int64_t step() const { return step_; }
  int64_t total_steps() const { return total_steps_; }
  int64_t batches_per_epoch() const { return batches_per_epoch_; }

 private:
  void load_start_weights(StartMode mode);
  void plan_length();
  void restore();
  asapnet::Batch next_batch();
  LogEntry train_step();
  asapnet::LossValues optimise(const asapnet::Batch& batch);
  [[noreturn]] void stop_at_bad_step(const Error& error);
  void save();
  void write_samples();
  void refresh_report();
  int64_t epoch() const { return step_ / batches_per_epoch_ + 1; }  // of the next step

  Options options_;
  std::filesystem::path run_;
  Device device_;
  std::vector<Pair> pairs_;
  asapnet::AsapNet model_;
  asapnet::GanStep gan_;
  std::unique_ptr<PrefetchLoader> loader_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<Progress> progress_;
  int64_t batches_per_epoch_ = 0, total_steps_ = 0;
  int64_t step_ = 0;  // steps done
};

}  // namespace asap::train
