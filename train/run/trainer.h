// Trainer: trains an ASAPNet on a dataset into a run folder (docs/asapnet.md, Training), or continues a run. The run folder holds
//   config.json       every option, readable by --config
//   log.jsonl         one object a step, and one an examination (run_log.h)
//   checkpoints/      latest, best, step_000123/ (checkpoint.h)
//   samples/          step_000123.png: label | generated | real
//   report.html       curves, samples and settings on one page (report.h)
//   events.out...     the same for TensorBoard, if wanted (tensorboard.h)
//   profile.json      where the time of a few steps went, if that was asked for (step_profile.h)
//   train.lock        while a process trains here (run_folder.h)
// Several ranks (ranks.h) train one model: each takes its share of every batch, rank 0 alone writes and tells. Their run is that
// of one rank up to the rounding of sums, and the same bits for the same number of ranks.
// A resumed run equals an uninterrupted one bit for bit (same number of threads): order, crops and noise are
// functions of seed, epoch and position, and everything else is in the checkpoint. Only what the weights need ends a
// training: samples, report and log that cannot be written are told, and so is a checkpoint, which the next save then
// tries again; the last save must succeed. Next: checkpoint.h, report.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "train/data/prefetch_loader.h"
#include "train/options/options.h"
#include "train/ranks/ranks.h"
#include "train/run/checkpoint.h"
#include "train/run/examiner.h"
#include "train/run/progress.h"
#include "train/run/run_folder.h"
#include "train/run/run_log.h"
#include "train/run/step_profile.h"
#include "train/run/step_times.h"
#include "train/run/tensorboard.h"

namespace asap::train {

enum class StartMode { fresh, resume };
enum class Outcome { finished, interrupted };

class Trainer {
 public:
  // Options must be resolved. fresh: for a folder that holds no run; nothing is written yet. resume: takes the lock and
  // restores `checkpoint`, or the run's latest one if that is empty. asap::Error about data, weights or the folder, and
  // on resume about settings that are not those of the checkpoint. Of several ranks each makes one, with rank 0's options;
  // only rank 0's looks into the folder.
  Trainer(const Options& options, const std::filesystem::path& run, StartMode mode,
          const std::filesystem::path& checkpoint = {}, const Ranks& ranks = {});

  // On every rank before anything else: takes over rank 0's state. SharedError if the ranks' programs, data or networks differ.
  void join_ranks();

  // Makes the run folder, then trains to the end, or until `stop` says so before a step; saves, samples and reports on
  // the way and at the end. asap::Error naming step and loss if a loss is not finite, and if the last save fails; the
  // last checkpoint then stays.
  Outcome train(const std::function<bool()>& stop);

  // To be called before train(): so many steps are recorded (step_profile.h).
  void profile(int64_t steps) { profile_ = std::make_unique<StepProfile>(steps, run_, gan_); }

  // As given, but with the epochs that --steps takes.
  const Options& options() const { return options_; }
  // "12.4 pictures/s: loading 1 %, ...": of the steps that train() has done.
  std::string times_text() const;
  int64_t step() const { return step_; }
  int64_t total_steps() const { return total_steps_; }
  int64_t batches_per_epoch() const { return batches_per_epoch_; }

 private:
  void load_start_weights();
  void plan_length();
  void restore();
  void open_folder();
  void first_alone(const std::function<void()>& work);
  std::vector<asapnet::Batch> next_batches();
  std::vector<asapnet::Batch> load_batches();
  double learning_rate() const;  // of the next step
  LogEntry train_step();
  asapnet::LossValues optimise(const std::vector<asapnet::Batch>& batches);
  void check_savable();
  void save();
  void save_on_the_way();
  void save_at_the_end(const std::string& reason = "");
  void write_samples();
  void judge(const std::function<bool()>& stop);
  std::optional<ScoreEntry> scores_of_step(const std::function<bool()>& stop);
  void refresh_report();
  void tell_board(const std::function<void(TensorBoard&)>& work);
  void warn(const std::string& text);
  void attempt(const std::string& kind, const std::function<void()>& work);
  int64_t epoch() const { return step_ / batches_per_epoch_ + 1; }  // of the next step

  Options options_;
  Ranks ranks_;
  std::filesystem::path run_;
  std::unique_ptr<RunLock> lock_;  // rank 0's, as the log, the board and the progress below
  std::filesystem::path start_;  // the checkpoint to go on from; empty: a fresh run
  Device device_;
  std::vector<Pair> pairs_;
  asapnet::AsapNet model_;
  asapnet::GanStep gan_;
  std::unique_ptr<PrefetchLoader> loader_;
  std::unique_ptr<Examiner> examiner_;  // null: nothing is judged
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<TensorBoard> board_;  // null: not wanted, or cannot be
  std::unique_ptr<Progress> progress_;
  StepTimes times_;
  std::unique_ptr<StepProfile> profile_;
  int64_t batches_per_epoch_ = 0;  // steps', each of --accumulate of the loader's
  int64_t total_steps_ = 0;
  int64_t loading_epoch_ = 0;  // the loader's
  int64_t step_ = 0;         // steps done
  int64_t saved_step_ = -1;  // the last that is in a checkpoint
  std::set<std::string> warned_;
};

}  // namespace asap::train
