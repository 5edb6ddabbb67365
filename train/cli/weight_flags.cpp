// Flags of trained weights. Declared in weight_flags.h.
#include "train/cli/weight_flags.h"

#include <CLI/CLI.hpp>

#include "train/cli/cli.h"
#include "train/files/user_text.h"
#include "train/run/built_in.h"

namespace asap::train {

void refuse_if(bool idle, const std::string& flag, const std::string& why) {
  if (idle) throw UsageError(flag + " has no effect " + why + "; leave it out");
}

void WeightFlags::add_to(CLI::App& app, const std::vector<OptionGroup>& groups) {
  app.add_option("--weights", weights,
                 "run folder, checkpoint folder (or RUN/checkpoints/best), .safetensors or .pth file")
      ->type_name("PATH")
      ->required();
  app.add_option("--threads", threads, "threads that compute; 0: one a core")->type_name("N")->default_str("0");
  app.add_option("--device", device, "cpu or cuda")->type_name("NAME")->default_str("cpu");
  options.add_to(app, groups, Defaults::hidden);
}

void WeightFlags::add_seed_to(CLI::App& app) {
  seed_ = app.add_option("--seed", seed, "of the codes, for models with condition_on_z");
  seed_->type_name("N")->default_str("0");
}

void WeightFlags::default_to_built_in(CLI::App& app) {
  app.get_option("--weights")->required(false)->default_str(kBuiltIn);
}

WeightSource WeightFlags::find(const std::vector<std::string>& used) const {
  const auto apply = [this](Options& o) {
    options.apply(o);
    o.train.threads = threads;
    o.train.device = device;
    o.train.seed = seed;
  };
  if (weights.empty()) warn("taking the built-in model of synthetic facades; --weights takes one of your own");
  WeightSource source =
      find_weights(weights.empty() ? kBuiltIn : weights, {apply, [this](const OptionField& field) { return options.origin(field); }});
  for (const std::string& clause : source.assumed) warn("assumed " + clause);
  options.tell_idle(source.options, used);
  return source;
}

void WeightFlags::refuse_codes(const asapnet::Config& config) const {
  if (config.condition_on_z) return;
  const std::string why = "on a model without codes (condition_on_z)";
  refuse_if(seed_->count() > 0, "--seed", why);
  for (const auto& [key, flag] : {std::pair{"ngf", "--ngf"}, {"z_dim", "--z-dim"}, {"use_vae", "--use-vae"}})
    refuse_if(options.given(key), flag, why);
}

}  // namespace asap::train
