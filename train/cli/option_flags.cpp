// Flags from the option table. Declared in option_flags.h.
#include "train/cli/option_flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "train/cli/cli.h"
#include "train/files/user_text.h"
#include "train/options/config_json.h"
#include "train/options/idle_options.h"

namespace asap::train {
namespace {

bool is_switch(const OptionField& field) { return std::holds_alternative<bool*>(field.value); }

const char* type_text(const OptionField& field) {
  if (std::holds_alternative<int64_t*>(field.value)) return "N";
  if (std::holds_alternative<double*>(field.value)) return "X";
  if (std::holds_alternative<Every*>(field.value)) return "N|Ne";
  return "TEXT";
}

CLI::Option* add_flag(CLI::App& command, const OptionField& field, Defaults defaults) {
  const std::string default_text = defaults == Defaults::shown ? to_text(field) : "";
  const std::string on =
      is_switch(field) && default_text == "true" ? " (default: on; " + field.flag + "=false turns it off)" : "";
  const std::string help = field.help + on;  // const: CLI11 would take a variable for the option's target
  if (is_switch(field)) return command.add_flag(field.flag, help)->group(title(field.group));
  CLI::Option* option = command.add_option(field.flag, help);
  option->type_name(type_text(field))->group(title(field.group));
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  if (!default_text.empty() && default_text != "-1") option->default_str(default_text);
  return option;
}

std::string flag_name(const std::string& key) {
  Options unused;
  for (const OptionField& field : option_fields(unused)) {
    if (field.key == key) return field.flag;
  }
  return flag_of(key);
}

}  // namespace

void OptionFlags::add_to(CLI::App& command, const std::vector<OptionGroup>& groups, Defaults defaults) {
  command.add_option("--preset", preset_, "start from a named configuration: " + comma_list(asapnet::preset_names()))
      ->type_name("NAME");
  command
      .add_option("--config", config_file_, "JSON file of options by their published names (label_nc, batchSize, ...)")
      ->type_name("FILE");
  Options options;
  for (const OptionField& field : option_fields(options)) {
    const bool wanted = std::find(groups.begin(), groups.end(), field.group) != groups.end();
    if (wanted) flags_.emplace_back(field.key, add_flag(command, field, defaults));
  }
}

void OptionFlags::apply(Options& options) const {
  if (!preset_.empty()) options.model = asapnet::preset(preset_);
  if (!config_file_.empty()) options_from_json_file(config_file_, options);
  for (const OptionField& field : option_fields(options)) {
    for (const auto& [key, option] : flags_) {
      if (key != field.key || option->count() == 0) continue;
      try {
        set_from_text(field, option->results().back());
      } catch (const Error& error) {
        throw UsageError(error.what());
      }
    }
  }
}

void OptionFlags::tell_idle(const Options& options, const std::vector<std::string>& used) const {
  const auto is_told = [&](const IdleOption& option) {
    return given(option.key) && std::find(used.begin(), used.end(), option.key) == used.end();
  };
  for (const IdleOption& option : idle_data_options(options)) {
    if (is_told(option)) throw UsageError(flag_name(option.key) + " has no effect " + option.why + "; leave it out");
  }
  if (!config_file_.empty()) refuse_idle_values(options, config_file_);
  for (const IdleOption& option : idle_model_options(options)) {
    if (is_told(option)) warn(flag_name(option.key) + " has no effect " + option.why);
  }
}

std::string OptionFlags::origin(const OptionField& field) const {
  if (given(field.key) || (preset_.empty() && config_file_.empty())) return field.flag + " " + to_text(field);
  return (config_file_.empty() ? "--preset " + preset_ : "--config " + config_file_) + " (" + field.key + " " +
         to_text(field) + ")";
}

bool OptionFlags::given(const std::string& key) const {
  return std::any_of(flags_.begin(), flags_.end(),
                     [&](const auto& flag) { return flag.first == key && flag.second->count() > 0; });
}

void normalise_flags(std::vector<std::string>& arguments) {
  Options unused;
  const std::vector<OptionField> fields = option_fields(unused);
  for (std::string& argument : arguments) {
    const std::string name = argument.substr(0, argument.find('='));
    for (const OptionField& field : fields) {
      if (name == "--" + field.key || name == flag_of(field.key)) argument = field.flag + argument.substr(name.size());
    }
  }
}

}  // namespace asap::train
