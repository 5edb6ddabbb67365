// The signal handlers. Declared in interrupt.h.
#include "train/run/interrupt.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "train/ranks/launch.h"
#include "train/ranks/mpi.h"

namespace asap::train {
namespace {

enum class Phase { set_up, training, saving };

// What a terminal or a wrapper sends twice comes within moments, and is one request.
constexpr int64_t kSameRequest = 1000;  // milliseconds

std::atomic<Phase> phase = Phase::set_up;
std::atomic<int> requests = 0;
std::atomic<int64_t> last_request = 0;  // milliseconds

constexpr std::array<int, 5> kRequests{SIGINT, SIGTERM, SIGHUP, kAsInterrupt, kAsTerminate};
std::array<struct sigaction, kRequests.size()> before;
struct sigaction old_pipe;

bool is_request(int signal_number, const struct sigaction& old) {
  if (signal_number == SIGHUP) return old.sa_handler != SIG_IGN;  // nohup
  if (signal_number == SIGTERM) return !started_by_run_ranks();     // there it is the end of the job
  return signal_number == SIGINT || launched();                     // the last two come by way of mpirun
}

int64_t milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// For signal handlers: no streams. On a terminal the line begins after the progress bar.
void say(const char* text) {
  if (!program_ranks().is_first()) return;
  const char* start = isatty(STDERR_FILENO) ? "\nasapnet: " : "asapnet: ";
  for (const char* part : {start, text, "\n"}) {
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) return;  // nobody reads it
  }
}

[[noreturn]] void end(const char* text) {
  say(text);
  _exit(kInterruptedExitCode);
}

void on_request(int signal_number) {
  if (signal_number == kAsInterrupt) signal_number = SIGINT;
  if (phase == Phase::set_up) end("stopped before the training began; nothing was changed");
  const int64_t now = milliseconds(), since = now - last_request;
  if (requests == 0) {
    say(phase == Phase::saving ? "saving, then ending"
                               : "finishing this step, then saving; Ctrl-C again ends without saving");
  } else if (signal_number != SIGINT || since < kSameRequest || !program_ranks().is_first()) {  // who knows whether a save has begun
    return;
  } else if (phase == Phase::saving && requests == 1) {
    say("still saving; Ctrl-C once more ends without this save");
  } else {
    end("ended at once; the checkpoint saved last stays");
  }
  last_request = now;
  ++requests;
}

void on_signal(int signal_number) {
  const int reason = errno;
  on_request(signal_number);
  errno = reason;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  phase = Phase::set_up;
  requests = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // reading and writing files goes on
  sigemptyset(&action.sa_mask);
  for (const int signal_number : kRequests) sigaddset(&action.sa_mask, signal_number);
  for (size_t i = 0; i < kRequests.size(); ++i) {
    sigaction(kRequests[i], nullptr, &before[i]);
    if (is_request(kRequests[i], before[i])) sigaction(kRequests[i], &action, nullptr);
  }
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, &old_pipe);
}

InterruptGuard::~InterruptGuard() {
  for (size_t i = 0; i < kRequests.size(); ++i) sigaction(kRequests[i], &before[i], nullptr);
  sigaction(SIGPIPE, &old_pipe, nullptr);
}

void InterruptGuard::training_begins() { phase = Phase::training; }
bool InterruptGuard::requested() const { return requests > 0; }

SavingNow::SavingNow() { phase = Phase::saving; }
SavingNow::~SavingNow() { phase = Phase::training; }

}  // namespace asap::train
