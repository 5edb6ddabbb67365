// The flags of the commands that use trained weights (generate, encode, evaluate): which, and how to read them.
// Sits on option_flags.h and generate.h.
#pragma once

#include <string>
#include <vector>

#include "train/cli/option_flags.h"
#include "train/infer/generate.h"

namespace asap::train {

// UsageError: "FLAG has no effect WHY; leave it out".
void refuse_if(bool idle, const std::string& flag, const std::string& why);

struct WeightFlags {
  OptionFlags options;
  std::string weights, device = "cpu";
  int64_t threads = 0, seed = 0;

  void add_to(CLI::App& app, const std::vector<OptionGroup>& groups);
  void add_seed_to(CLI::App& app);
  // After add_to: without --weights the command takes the built-in model, and says so (run/built_in.h).
  static void default_to_built_in(CLI::App& app);

  // The weights, with the flags over the options that they were trained with. Keys in `used`: OptionFlags::tell_idle.
  WeightSource find(const std::vector<std::string>& used = {}) const;
  // UsageError for flags of codes beside a model without.
  void refuse_codes(const asapnet::Config& config) const;

 private:
  CLI::Option* seed_ = nullptr;
};

}  // namespace asap::train
