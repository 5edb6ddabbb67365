// Ctrl-C: the first SIGINT or SIGTERM asks the training loop to finish its step, save and stop; the second ends the
// program at once.
#pragma once

namespace asap::train {

// Catches both signals while it lives.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  // Whether a signal came.
  bool requested() const;
};

inline constexpr int kInterruptedExitCode = 130;  // what shells report for SIGINT

}  // namespace asap::train
