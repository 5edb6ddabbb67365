// The program `asapnet`. Next: cli.h.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "train/cli.h"

namespace {

// A standard stream that is closed (>&-) would otherwise be the next file that we open: the log, a checkpoint.
void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDWR) != stream) _exit(asap::train::kError);
  }
}

// Between two parallel loops OpenMP's threads spin by default, and on a machine with other work they then wait for each
// other's time slices: the quick preset fell from 22 to 1 step a second on two busy cores. Sleeping costs microseconds.
// The OpenMP runtime reads this before main, hence the second start. Whoever sets one of the variables keeps it.
void let_waiting_threads_sleep(char** argv) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // comes back only if there is no /proc: then nothing is lost but speed
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_streams();
  signal(SIGXFSZ, SIG_IGN);  // a file over the limit (ulimit -f) is an error with a reason, as a full disk is
  let_waiting_threads_sleep(argv);
  return asap::train::run_command_line({argv + 1, argv + argc});
}
