// Parsing, dispatch and exit codes. Declared in cli.h.
#include "train/cli.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <new>

#include "train/cli_options.h"
#include "train/nearest.h"

namespace asap::train {
namespace {

constexpr const char* kFooter = R"(Examples:
  asapnet synth --out data                                       make pictures to try it with
  asapnet train --preset quick --data data --out runs/first --no-vgg-loss --steps 300
  asapnet train --resume runs/first --steps 600                  go on
  asapnet generate --weights runs/first --data data --out pictures
  asapnet generate --weights latest_net_G.pth --labels map.png --out pictures
Every command explains itself: asapnet train --help. Options have the published names in kebab-case; the
published spelling (--label_nc, --batchSize) works too.)";

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
  throw UsageError("there is no option " + name + " of asapnet " + command.get_name() + "; the nearest is " +
                   nearest_name(name, flag_names(command)));
}

void check_command_name(const std::vector<std::string>& arguments, const std::vector<Command>& commands) {
  std::vector<std::string> names;
  for (const Command& command : commands) names.push_back(command.app->get_name());
  const std::string& first = arguments.front();
  if (first.starts_with("-") || std::find(names.begin(), names.end(), first) != names.end()) return;
  throw UsageError("there is no command '" + first + "'; the nearest is '" + nearest_name(first, names) +
                   "' (asapnet --help lists them)");
}

int dispatch(std::vector<std::string> arguments) {
  CLI::App program(
      "ASAPNet: fast image translation by pixelwise networks (Rott Shaham et al., CVPR 2021), trained and run on this "
      "machine.",
      "asapnet");
  program.footer(kFooter);
  program.require_subcommand(1);
  program.get_formatter()->column_width(36);
  const std::vector<Command> commands{add_train_command(program),   add_generate_command(program),
                                      add_synth_command(program),   add_inspect_command(program),
                                      add_convert_command(program), add_encode_command(program),
                                      add_labels_command(program)};
  for (const Command& command : commands) command.app->allow_extras();
  if (arguments.empty()) arguments = {"--help"};
  check_command_name(arguments, commands);
  normalise_flags(arguments);
  try {
    std::reverse(arguments.begin(), arguments.end());  // the order CLI11 wants
    program.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    std::cout << (program.get_subcommands().empty() ? program.help()
                                                    : program.get_subcommands().front()->help("asapnet"));
    return kOk;
  } catch (const CLI::ParseError& error) {
    throw UsageError(error.what());
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    refuse_leftovers(*command.app);
    return command.run();
  }
  return kUsage;
}

int complain(const std::string& text, int code) {
  std::cout << std::flush;
  std::cerr << "asapnet: " << text << std::endl;
  return code;
}

}  // namespace

int run_command_line(std::vector<std::string> arguments) {
  try {
    return dispatch(std::move(arguments));
  } catch (const UsageError& error) {
    return complain(error.what(), kUsage);
  } catch (const Error& error) {
    return complain(error.what(), kError);
  } catch (const std::bad_alloc&) {
    return complain("out of memory; smaller pictures, batches or networks need less", kError);
  } catch (const std::exception& error) {
    return complain(error.what(), kError);
  }
}

}  // namespace asap::train
