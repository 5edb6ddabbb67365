// The progress bar. Declared in progress.h.
#include "train/run/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "train/files/user_text.h"

namespace asap::train {
namespace {

constexpr int kBarWidth = 16;

std::string formatted(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string bar(double fraction) {
  std::string text(kBarWidth, '.');
  std::fill_n(text.begin(), static_cast<size_t>(fraction * kBarWidth), '#');
  return str('[', text, ']');
}

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::llround(seconds));
  char text[48];
  if (whole < 60) {
    std::snprintf(text, sizeof text, "%lld s", whole);
  } else if (whole < 3600) {
    std::snprintf(text, sizeof text, "%lld min %02lld s", whole / 60, whole % 60);
  } else {
    std::snprintf(text, sizeof text, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
  }
  return text;
}

Progress::Progress(int64_t first_step, int64_t total_steps, int64_t epochs)
    : terminal_(terminal_columns(STDOUT_FILENO) > 0), first_step_(first_step), total_steps_(total_steps), epochs_(epochs) {}

Progress::~Progress() {
  if (bar_shown_) std::cout << std::endl;
}

// "epoch 1/9 step 5/90 | 3.10 it/s | 27 s left | GAN 0.512 ... | 12.4 pictures/s: ...": a narrow terminal cuts the end off, not
// the time that is left.
std::string Progress::line(const LogEntry& entry, const std::string& times) const {
  const double left = seconds_per_step_ * static_cast<double>(total_steps_ - entry.step);
  const std::string speed =
      seconds_per_step_ < 1 ? formatted("%.2f it/s", 1 / seconds_per_step_) : formatted("%.2f s/it", seconds_per_step_);
  std::string text = str("epoch ", entry.epoch, "/", epochs_, " step ", entry.step, "/", total_steps_, " | ", speed,
                         " | ", duration_text(left), " left |");
  for (const auto& [name, value] : entry.losses) text += " " + name + formatted(" %.3f", value);
  return times.empty() ? text : text + " | " + times;
}

void Progress::update(const LogEntry& entry, const std::string& times, bool print) {
  // The first step allocates everything: the average begins with the second.
  const int64_t done = entry.step - first_step_;
  const double weight = done <= 2 ? 1.0 : std::max(0.05, 1.0 / static_cast<double>(done - 1));
  seconds_per_step_ += weight * (std::max(entry.seconds, 1e-9) - seconds_per_step_);
  if (!terminal_) {
    if (print || entry.step == total_steps_) std::cout << line(entry, times) << std::endl;
    return;
  }
  std::string text = bar(static_cast<double>(entry.step) / static_cast<double>(total_steps_)) + " " + line(entry, times);
  text.resize(std::min(text.size(), static_cast<size_t>(terminal_columns(STDOUT_FILENO) - 1)));
  clear_bar();
  std::cout << text << std::flush;
  bar_shown_ = true;
}

void Progress::clear_bar() {
  if (bar_shown_) std::cout << "\r\033[K";
  bar_shown_ = false;
}

void Progress::tell(const std::string& text) {
  clear_bar();
  std::cout << text << std::flush;
}

void Progress::warn(const std::string& text) {
  clear_bar();
  std::cout << std::flush;
  train::warn(text);
}

CountBar::CountBar(size_t total) : terminal_(isatty(STDERR_FILENO) != 0), total_(total) {}

CountBar::~CountBar() {
  if (terminal_) std::cerr << "\r\033[K" << std::flush;
}

void CountBar::update(size_t done, const std::string& now) {
  if (!terminal_) return;
  std::string text = bar(static_cast<double>(done) / static_cast<double>(total_)) + str(" ", done, "/", total_, " ") +
                     terminal_safe(now);
  text.resize(std::min(text.size(), static_cast<size_t>(terminal_columns(STDERR_FILENO) - 1)));
  std::cerr << "\r\033[K" << text << std::flush;
}

}  // namespace asap::train
