// Options that do nothing beside others: of the data set, which the chosen layout does not look at, and of the model and its
// losses. Sits on options.h; used by the command line and by resolve.
#pragma once

#include <string>
#include <vector>

#include "train/options/options.h"

namespace asap::train {

struct IdleOption {
  std::string key;
  std::string why;  // "with --dataset facades, which takes --data"
};

// Those without an effect beside the others of `options`, whatever their values.
std::vector<IdleOption> idle_data_options(const Options& options);

// The same for the model, its losses and the way of the pictures into it. Options must be resolved.
std::vector<IdleOption> idle_model_options(const Options& options);

// asap::Error if the JSON file `config` gives one of the data set's a value of its own: for files that are read on purpose (--config).
// Where flags chose another layout than the file's, what the file says about its own is no mistake.
void refuse_idle_values(const Options& options, const std::string& config);

// Gives them their defaults again, so that a run's config.json holds none.
void reset_idle_values(Options& options);

}  // namespace asap::train
