// Progress: of a training run on standard output, a bar that redraws itself on a terminal, plain lines elsewhere; and of
// other work, a bar alone.
#pragma once

#include <cstdint>
#include <string>

#include "train/run/run_log.h"

namespace asap::train {

// Seconds as "42 s", "3 min 05 s" or "2 h 10 min".
std::string duration_text(double seconds);

class Progress {
 public:
  // The run goes from first_step to total_steps, in `epochs` epochs.
  Progress(int64_t first_step, int64_t total_steps, int64_t epochs);
  // Ends the bar's line.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // After a step. A terminal gets the bar; without one, a line is printed if `print`.
  void update(const LogEntry& entry, bool print);
  // A line of its own, in the bar's place.
  void say(const std::string& text);
  // The same on standard error.
  void warn(const std::string& text);

 private:
  std::string line(const LogEntry& entry) const;
  void clear_bar();

  const bool terminal_;
  const int64_t first_step_, total_steps_, epochs_;
  double seconds_per_step_ = 0;  // smoothed
  bool bar_shown_ = false;
};

// "[####............] 12/60 cmp_b0012", on standard error if that is a terminal: for work whose results go to standard output.
class CountBar {
 public:
  explicit CountBar(size_t total);
  ~CountBar();  // removes the bar
  CountBar(const CountBar&) = delete;
  CountBar& operator=(const CountBar&) = delete;
  void update(size_t done, const std::string& now);

 private:
  const bool terminal_;
  const size_t total_;
};

}  // namespace asap::train
