// JSON <-> Options: an object whose keys are the published options as their command line spells them (label_nc,
// batchSize, num_D, no_TTUR ...). The run's config.json, --config and the metadata of weight files are this.
// Sits on options.h. Next: checkpoint.h.
#pragma once

#include <filesystem>
#include <string>

#include "train/options/options.h"

namespace asap::train {

// Every option, in the table's order.
std::string options_to_json(const Options& options);
// The model's options alone: what a weight file needs to be used.
std::string config_to_json(const asapnet::Config& config);

// Sets the options whose keys the object holds; the others stay. asap::Error, starting with `source`: not JSON (with
// the place), not an object, an unknown key (with the nearest known one), a key twice, a value of the wrong type.
// Nothing is checked across options: that is resolve()'s.
void options_from_json(const std::string& text, const std::string& source, Options& options);
void options_from_json_file(const std::filesystem::path& path, Options& options);

}  // namespace asap::train
