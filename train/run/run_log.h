// log.jsonl of a run: one JSON object a step, {"step", "epoch", the losses by name, "lr", "seconds"}, appended as the
// step ends, and one whenever the weights were judged after a step, {"step", "scores": {the numbers by name}}. Written by
// the trainer, read by the report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "asapnet/model.h"

namespace asap::train {

struct LogEntry {
  int64_t step = 0, epoch = 0;  // from 1
  asapnet::LossValues losses;
  double lr = 0;
  double seconds = 0;  // the step took, loading included
};

// What a judge said of the weights after `step` steps.
struct ScoreEntry {
  int64_t step = 0;
  std::vector<std::pair<std::string, double>>
      scores;  // by metric; NaN for what does not exist or is infinite (null in the file)
};

// The entries of the file, in order; none if there is no file. Lines that are no entry are left out: a last one that a
// crash cut off, an empty one, one that something else wrote. asap::Error if the file cannot be read.
std::vector<LogEntry> read_log(const std::filesystem::path& path);
std::vector<ScoreEntry> read_scores(const std::filesystem::path& path);

class RunLog {
 public:
  // Opens the log for appending after step `last_step`: later lines, of steps that will be done again, are removed.
  // Lines that are no entry move to PATH.bad. asap::Error naming the file and the system's reason.
  RunLog(const std::filesystem::path& path, int64_t last_step);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // What moved to PATH.bad, as a sentence for the user; empty if nothing did.
  const std::string& warning() const { return warning_; }

  // asap::Error naming the file and the system's reason if it cannot be written; the next call then writes the rest too.
  void append(const LogEntry& entry);
  void append(const ScoreEntry& entry);
  // Returns when everything is on the disk.
  void sync();

 private:
  void write_pending();

  std::filesystem::path path_;
  std::string warning_;
  std::string pending_;  // not yet in the file
  int file_ = -1;
};

}  // namespace asap::train
