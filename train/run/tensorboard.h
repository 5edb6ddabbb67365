// A run's numbers, samples and settings for TensorBoard (tensorboard --logdir RUNS), in an event file in the run's folder,
// so that the run has the folder's name there: scalars losses/NAME, scores/NAME, learning_rate/NETWORK and speed/...; the
// image samples; the text settings; the settings as hyperparameters beside the scalars (HParams). Needs Protocol Buffers
// when building. Sits on event_file.h, events.proto and recorded_run.h. Used by the trainer while it trains, and on runs of
// the past.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "train/options/options.h"
#include "train/run/event_file.h"
#include "train/run/recorded_run.h"

namespace asap::train {

// asap::Error unless this program was built with Protocol Buffers.
void check_tensorboard_possible();

double unix_time();  // now, in seconds since 1970

class TensorBoard {
 public:
  // The events of RUN after step `last_step`; those of later steps in earlier files are forgotten, for these steps are done
  // again. Where there is no earlier file, RUN/log.jsonl and samples/ fill in. At 0, files of a run that ended before its
  // first save are removed. asap::Error as check_tensorboard_possible and AppendedFile.
  TensorBoard(const std::filesystem::path& run, const Options& options, int64_t last_step);

  // `time` is when it happened. The file has it after flush().
  void add(const LogEntry& entry, double time = unix_time());
  void add(const ScoreEntry& entry, double time = unix_time());
  void add(const SampleGrid& grid, double time = unix_time());  // asap::Error if the picture cannot be read
  void add_end(double time = unix_time());                      // the training is finished
  void flush() { file_.flush(); }                               // asap::Error as AppendedFile

 private:
  void add_settings(int64_t step, double time);
  void add_past(const RecordedRun& run);

  Options options_;
  EventFile file_;
};

// Writes the events of a run of the past. asap::Error as above, and if it has an event file or no step.
void convert_to_tensorboard(const RecordedRun& run);

}  // namespace asap::train
