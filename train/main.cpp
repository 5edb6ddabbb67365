// The program `asapnet`. Next: cli.h.
#include "train/cli.h"

int main(int argc, char** argv) { return asap::train::run_command_line({argv + 1, argv + argc}); }
