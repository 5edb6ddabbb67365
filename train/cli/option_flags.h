// The option table (options.h) as flags of a subcommand: preset, then --config, then flags, each over the one before.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "train/options/options.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace asap::train {

enum class Defaults { shown, hidden };

// The flags of some groups of options, with --preset and --config.
class OptionFlags {
 public:
  // Adds the flags to `command`. Help shows the defaults, unless they come from elsewhere (a run, a weight file).
  // Published spellings (--label_nc, --batchSize) become ours in normalise_flags.
  void add_to(CLI::App& command, const std::vector<OptionGroup>& groups, Defaults defaults);

  // After parsing: preset, file and flags onto `options`. UsageError for a flag's value of the wrong type.
  void apply(Options& options) const;

  // After resolving: what was given and does nothing beside the other options. Of the data set it is an error (UsageError for a
  // flag, asap::Error for a value of the --config file: other data were meant); other flags are told of on standard error:
  // "--vgg has no effect with --no-vgg-loss". Keys in `used` have an effect in this command.
  void tell_idle(const Options& options, const std::vector<std::string>& used = {}) const;

  // Where an option's value comes from: "--label-nc 20", "--config FILE (label_nc 20)" or "--preset NAME (label_nc 20)".
  std::string origin(const OptionField& field) const;

  // Whether the user gave the option as a flag.
  bool given(const std::string& key) const;
  const std::string& preset() const { return preset_; }
  const std::string& config_file() const { return config_file_; }

 private:
  std::vector<std::pair<std::string, CLI::Option*>> flags_;  // by key
  std::string preset_, config_file_;
};

// Published spellings of options to our flags: "--label_nc=13" -> "--label-nc=13", "--batchSize" -> "--batch-size".
void normalise_flags(std::vector<std::string>& arguments);

}  // namespace asap::train
