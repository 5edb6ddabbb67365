// Signals during training. Ctrl-C (SIGINT), SIGTERM and a closed terminal (SIGHUP) ask the training loop to finish its
// step, save and stop, and say so at once. Ctrl-C again ends the program without saving, unless a save has begun: that
// takes a third. Before training has begun, each of them ends the program: nothing was changed by then. Of several ranks all get the signal
// (ranks/launch.h), and the first one speaks.
#pragma once

namespace asap::train {

// Catches the three signals while it lives; SIGHUP only if it was not ignored (nohup). Ignores SIGPIPE: whoever reads our
// output may leave, the training stays.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  // From here on a signal is an answer of requested(), no end.
  void training_begins();
  // Whether a signal came.
  bool requested() const;
};

// A checkpoint is being written while it lives.
class SavingNow {
 public:
  SavingNow();
  ~SavingNow();
  SavingNow(const SavingNow&) = delete;
  SavingNow& operator=(const SavingNow&) = delete;
};

inline constexpr int kInterruptedExitCode = 130;  // what shells report for SIGINT; here of all three signals

}  // namespace asap::train
