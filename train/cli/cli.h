// The program `asapnet`: its subcommands and exit codes. main.cpp calls run_command_line; option_flags.h turns the
// option table into flags; each subcommand's flags stand in a cli_*.cpp of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tensor/error.h"

namespace CLI {
class App;
}

namespace asap::train {

// Exit codes. Interrupted by Ctrl-C: 130 (interrupt.h).
inline constexpr int kOk = 0, kError = 1, kUsage = 2;
inline constexpr int kSkipped = 77;  // bench --verify-only without the device: what CTest and Automake call skipped

// A command line that cannot be understood: exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

// Runs one command; prints results to standard output and one sentence to standard error if it fails.
// `arguments` without the program's name.
int run_command_line(std::vector<std::string> arguments);

// A subcommand: its flags are bound when it is added, then it runs and returns the exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int()> run;
};

Command add_train_command(CLI::App& program);
Command add_generate_command(CLI::App& program);
Command add_evaluate_command(CLI::App& program);
Command add_report_command(CLI::App& program);
Command add_segmenter_command(CLI::App& program);
Command add_encode_command(CLI::App& program);
Command add_inspect_command(CLI::App& program);
Command add_convert_command(CLI::App& program);
Command add_export_command(CLI::App& program);
Command add_synth_command(CLI::App& program);
Command add_labels_command(CLI::App& program);
Command add_kernels_command(CLI::App& program);
Command add_kernel_command(CLI::App& program);
Command add_bench_command(CLI::App& program);
Command add_serve_command(CLI::App& program);

}  // namespace asap::train
