// report.html of a run: loss curves, sample grids and settings on one page that needs no network and no other file.
// Sits on run_log.h and chart.h. Written by the trainer whenever it saves.
#pragma once

#include <filesystem>

#include "train/options/options.h"

namespace asap::train {

struct ReportFacts {
  Options options;
  int64_t pictures = 0;     // in the dataset
  int64_t total_steps = 0;  // of the whole run
};

// Reads RUN/log.jsonl and RUN/samples/*.png, writes RUN/report.html. asap::Error names the file that fails.
void write_report(const std::filesystem::path& run, const ReportFacts& facts);

}  // namespace asap::train
