// The signal handlers. Declared in interrupt.h.
#include "train/interrupt.h"

#include <signal.h>
#include <unistd.h>

namespace asap::train {
namespace {

volatile sig_atomic_t signals_seen = 0;
struct sigaction old_interrupt, old_terminate;

void on_signal(int) {
  if (signals_seen) _exit(kInterruptedExitCode);
  signals_seen = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  signals_seen = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // reading and writing files goes on
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &old_interrupt);
  sigaction(SIGTERM, &action, &old_terminate);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &old_interrupt, nullptr);
  sigaction(SIGTERM, &old_terminate, nullptr);
}

bool InterruptGuard::requested() const { return signals_seen != 0; }

}  // namespace asap::train
