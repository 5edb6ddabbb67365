// log.jsonl of a run: one JSON object a step, {"step", "epoch", the losses by name, "lr", "seconds"}, appended as the
// step ends. Written by the trainer, read by the report.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "asapnet/model.h"

namespace asap::train {

struct LogEntry {
  int64_t step = 0, epoch = 0;  // from 1
  asapnet::LossValues losses;
  double lr = 0;
  double seconds = 0;  // the step took, loading included
};

// The entries of the file, in order; none if there is no file. A last line that was cut off by a crash is left out.
// asap::Error naming file and line of anything else that is no entry.
std::vector<LogEntry> read_log(const std::filesystem::path& path);

class RunLog {
 public:
  // Opens the log for appending after step `last_step`: later lines, of steps that will be done again, are removed.
  RunLog(const std::filesystem::path& path, int64_t last_step);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  // asap::Error naming the file and the system's reason if it cannot be written.
  void append(const LogEntry& entry);
  // Returns when everything is on the disk.
  void sync();

 private:
  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
};

}  // namespace asap::train
