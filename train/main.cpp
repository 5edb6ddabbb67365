// The program `asapnet`. Next: cli.h.
#include "tensor/threads.h"
#include "train/cli.h"

int main(int argc, char** argv) {
  asap::let_waiting_threads_sleep(argv);
  return asap::train::run_command_line({argv + 1, argv + argc});
}
