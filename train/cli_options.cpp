// Flags from the option table. Declared in cli_options.h.
#include "train/cli_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "train/cli.h"
#include "train/config_json.h"

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

// An option that does nothing with other settings, and which these are.
struct Idle {
  const char* key;
  bool idle;
  std::string with;
};

std::vector<Idle> idle_options(const Options& options) {
  const asapnet::Config& c = options.model;
  const TrainOptions& o = options.train;
  const bool custom = o.dataset_mode == "custom", facades = o.dataset_mode == "facades";
  const bool takes_load_size = o.preprocess_mode.starts_with("resize") || o.preprocess_mode.starts_with("scale");
  const std::string dataset = "with --dataset " + o.dataset_mode;
  return {{"dataroot", custom, dataset + ", whose folders are --label-dir and --image-dir"},
          {"phase", custom, dataset + ", which has no phases"},
          {"label_dir", !custom, dataset + ", which takes --data"},
          {"image_dir", !custom, dataset + ", which takes --data"},
          {"instance_dir", !custom, dataset + ", which takes --data"},
          {"split_file", !facades, dataset},
          {"load_size", !takes_load_size, "with --preprocess " + o.preprocess_mode},
          {"instance_dir", !c.instance_channel(), "without an instance channel (--no-instance-edge=false)"},
          {"label_nc", c.no_one_hot && c.label_nc != 3, "with --no-one-hot, whose input is an RGB picture"},
          {"contain_dontcare_label", c.no_one_hot, "with --no-one-hot, whose input is an RGB picture"},
          {"no_instance_dist", !c.no_instance_dist && !c.no_instance_edge, "beside edges (--no-instance-edge)"},
          {"ngf", !c.use_vae, "without --use-vae"},
          {"z_dim", !c.use_vae, "without --use-vae"},
          {"lambda_kld", !c.use_vae, "without --use-vae"},
          {"lambda_vgg", c.no_vgg_loss, "with --no-vgg-loss"},
          {"vgg", c.no_vgg_loss, "with --no-vgg-loss"},
          {"vgg_normalise", c.no_vgg_loss, "with --no-vgg-loss"},
          {"lambda_feat", c.no_ganFeat_loss, "with --no-ganfeat-loss"},
          {"spectral_init", c.norm_D != "spectralinstance", "with --norm-d " + c.norm_D}};
}

}  // namespace

void OptionFlags::add_to(CLI::App& command, const std::vector<OptionGroup>& groups, Defaults defaults) {
  std::string names;
  for (const std::string& preset : asapnet::preset_names()) names += (names.empty() ? "" : ", ") + preset;
  command.add_option("--preset", preset_, "start from a named configuration: " + names)->type_name("NAME");
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

void OptionFlags::refuse_idle(const Options& options, const std::vector<std::string>& used) const {
  for (const Idle& option : idle_options(options)) {
    if (option.idle && given(option.key) && std::find(used.begin(), used.end(), option.key) == used.end())
      throw UsageError(flag_name(option.key) + " has no effect " + option.with + "; leave it out");
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

std::vector<std::string> OptionFlags::given_keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, option] : flags_) {
    if (option->count() > 0) keys.push_back(key);
  }
  return keys;
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
