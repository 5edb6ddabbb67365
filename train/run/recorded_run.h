// A run as its folder tells of it, finished or not: settings, log, scores, samples. What report.h and tensorboard.h show.
// Sits on run_log.h and checkpoint.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "train/options/options.h"
#include "train/run/run_log.h"

namespace asap::train {

// RUN/samples/step_000123.png.
struct SampleGrid {
  int64_t step = 0;
  std::filesystem::path file;
};

struct RecordedRun {
  std::filesystem::path folder;
  Options options;
  std::vector<LogEntry> log;
  std::vector<ScoreEntry> scores;
  std::vector<SampleGrid> samples;  // by step
  int64_t total_steps = 0;          // of the whole run; 0: its checkpoint, which would say it, cannot be read
  int64_t parameters = 0;           // of the generator; 0: likewise
};

// asap::Error naming the folder or file: missing, no run, settings that cannot be read. A run may have no step yet.
RecordedRun read_run(const std::filesystem::path& folder);

}  // namespace asap::train
