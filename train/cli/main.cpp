// The program `asapnet`. Next: cli.h.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "tensor/threads.h"
#include "train/cli/cli.h"
#include "train/ranks/mpi.h"

namespace {

// A standard stream that is closed (>&-) would otherwise be the next file that we open: the log, a checkpoint.
void fill_standard_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDWR) != stream) _exit(asap::train::kError);
  }
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_streams();
  signal(SIGXFSZ, SIG_IGN);  // a file over the limit (ulimit -f) is an error with a reason, as a full disk is
  asap::let_waiting_threads_sleep(argv);
  const int code = asap::train::run_command_line({argv + 1, argv + argc});
  asap::train::leave_ranks();
  return code;
}
