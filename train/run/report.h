// A page about one run or several beside each other: curves, sample grids, what they came to and how they were set, in one
// file that needs no network and no other file. Sits on recorded_run.h and chart.h; its style and script are report.css and
// report.js, compiled in. Written by the trainer whenever it saves, and by asapnet report.
#pragma once

#include <filesystem>
#include <vector>

#include "train/run/recorded_run.h"

namespace asap::train {

struct ReportOptions {
  double smoothing = 0.03;  // width of the moving average over a curve, as a part of its points; 0: none
};

// At least one run; several are named by their folders. asap::Error names the file that fails.
void write_report(const std::vector<RecordedRun>& runs, const std::filesystem::path& file,
                  const ReportOptions& options = {});

}  // namespace asap::train
