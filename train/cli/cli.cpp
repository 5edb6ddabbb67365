// Parsing, dispatch and exit codes. Declared in cli.h.
#include "train/cli/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <optional>
#include <streambuf>

#include "tensor/kernel_library.h"
#include "train/cli/option_flags.h"
#include "train/cli/rank_flags.h"
#include "train/files/user_text.h"
#include "train/options/nearest.h"
#include "train/ranks/mpi.h"

namespace asap::train {
namespace {

constexpr const char* kFooter = R"(Examples:
  asapnet synth --out data                                       make pictures to try it with
  asapnet train --preset quick --data data --out runs/first --no-vgg-loss --steps 300
  asapnet train --resume runs/first --steps 600                  go on
  asapnet generate --weights runs/first --data data --out pictures
  asapnet generate --weights latest_net_G.pth --labels map.png --out pictures
  asapnet evaluate --weights runs/first                          numbers: psnr, ssim and others
  asapnet report runs/* --out runs.html                          runs beside each other
Every command explains itself: asapnet train --help, or asapnet help train. Options have the published names in
kebab-case; the published spelling (--label_nc, --batchSize) works too.
Exit codes: 0 done, 1 an error (one sentence on standard error says which), 2 a command line that cannot be understood,
130 interrupted.)";

std::vector<std::string> flag_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

// What the command did not take: a mistyped flag, most likely.
void refuse_leftovers(const CLI::App& command) {
  const std::vector<std::string> left = command.remaining();
  if (left.empty()) return;
  const std::string name = left[0].substr(0, left[0].find('='));
  if (!name.starts_with("-"))
    throw UsageError("'" + name + "' is one argument too many; see asapnet " + command.get_name() + " --help");
  throw UsageError(unknown_option(name, flag_names(command), " of asapnet " + command.get_name()));
}

// The longest name that Linux's file systems take, and the longest path; the system's own complaint names no option.
void check_lengths_of_names(const CLI::App& command) {
  constexpr ptrdiff_t kLongestName = 255, kLongestPath = 4095;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& text : option->results()) {
      ptrdiff_t longest = 0;
      for (auto begin = text.begin(); begin < text.end();) {
        const auto end = std::find(begin, text.end(), '/');
        longest = std::max(longest, end - begin);
        begin = end + (end != text.end());
      }
      ASAP_CHECK(longest <= kLongestName, "the name of ", option->get_name(), " is too long: ", longest,
                 " bytes, where file systems take ", kLongestName);
      ASAP_CHECK(std::ssize(text) <= kLongestPath, "the path of ", option->get_name(), " is too long: ", text.size(),
                 " bytes, where the system takes ", kLongestPath);
    }
  }
}

// "help train" is "train --help"; anything but a command must be one of the program's own flags.
void check_command_name(std::vector<std::string>& arguments, const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  names.push_back("help");
  if (arguments.front() == "help") {
    arguments.erase(arguments.begin());
    arguments.emplace_back("--help");
  }
  const std::string& first = arguments.front();
  if (std::find(names.begin(), names.end(), first) != names.end()) return;
  if (first == "-h" || first == "--help" || first == "--version") return;
  if (first.starts_with("-"))
    throw UsageError("the command comes first (asapnet train --out DIR ...), and '" + first +
                     "' is none; asapnet --help lists them");
  const std::string nearest = nearest_name(first, names);
  throw UsageError("there is no command '" + first + "'" +
                   (nearest.empty() ? "" : "; the nearest is '" + nearest + "'") + " (asapnet --help lists them)");
}

int dispatch(std::vector<std::string> arguments) {
  CLI::App program(
      "ASAPNet: fast image translation by pixelwise networks (Rott Shaham et al., CVPR 2021), trained and run on this "
      "machine.",
      "asapnet");
  program.footer(kFooter);
  program.set_version_flag("--version", "asapnet " ASAP_VERSION, "print the version");
  program.require_subcommand(1);
  program.get_formatter()->column_width(36);
  const std::vector<Command> commands{
      add_train_command(program),   add_generate_command(program), add_serve_command(program),   add_evaluate_command(program),
      add_report_command(program),  add_synth_command(program),    add_inspect_command(program), add_convert_command(program),
      add_export_command(program),  add_encode_command(program),   add_labels_command(program),  add_segmenter_command(program),
      add_kernels_command(program), add_kernel_command(program),   add_bench_command(program)};
  for (const Command& command : commands) command.app->allow_extras();
  if (arguments.empty()) arguments = {"--help"};
  check_command_name(arguments, commands);
  normalise_flags(arguments);
  const std::vector<std::string> given = arguments;
  try {
    std::reverse(arguments.begin(), arguments.end());  // the order CLI11 wants
    program.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    std::cout << (program.get_subcommands().empty() ? program.help()
                                                    : program.get_subcommands().front()->help("asapnet"));
    return kOk;
  } catch (const CLI::CallForVersion& version) {
    std::cout << version.what() << std::endl;
    return kOk;
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    refuse_leftovers(*command.app);
    check_lengths_of_names(*command.app);
    if (const std::optional<int> code = enter_ranks(*command.app, given)) return *code;
    load_kernel_libraries_of_environment();
    return command.run();
  }
  return kUsage;
}

// Of several ranks the first one speaks for all, where all fail; otherwise the one that fails.
int complain(const std::string& text, int code) {
  std::cout << std::flush;
  if (!program_ranks().alone() && !all_ranks_fail()) abort_job(text, code);
  warn(text);
  return code;
}

// Takes whatever is written to it, and says nothing.
struct Silence : std::streambuf {
  int overflow(int c) override { return traits_type::not_eof(c); }
  std::streamsize xsputn(const char*, std::streamsize count) override { return count; }
};

// All but the first rank are silent.
void meet_ranks() {
  static Silence silence;
  join_ranks();
  if (program_ranks().is_first()) return;
  std::cout.rdbuf(&silence);
  std::cerr.rdbuf(&silence);
}

int run_guarded(std::vector<std::string> arguments) {
  try {
    meet_ranks();
    return dispatch(std::move(arguments));
  } catch (const UsageError& error) {
    return complain(error.what(), kUsage);
  } catch (const std::exception& error) {
    return complain(sentence_of(error), kError);
  }
}

}  // namespace

int run_command_line(std::vector<std::string> arguments) {
  const int code = run_guarded(std::move(arguments));
  errno = 0;
  if (std::cout.flush()) return code;
  std::cout.clear();
  if (errno == 0) std::cout << std::endl;  // the failure was an earlier one: once more, for its reason
  warn(std::string("standard output cannot be written") + (errno ? str(" (", std::strerror(errno), ")") : "") +
       "; what it should have said is lost");
  return code == kOk ? kError : code;
}

}  // namespace asap::train
