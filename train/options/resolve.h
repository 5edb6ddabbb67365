// What follows from the options: derived values and the checks across them, and the options of data sets, samples and
// optimisers. Sits on options.h and idle_options.h. Next: run/trainer.h, cli/generate.h.
#pragma once

#include "asapnet/model.h"
#include "train/data/load_sample.h"
#include "train/options/options.h"

namespace asap::train {

// Fills in what is left to be derived (preprocess_mode, load_size, betas, threads; paths become absolute) and checks
// everything but the existence of files. asap::Error names the option, its value and what would do.
void resolve(Options& options);

// What a model must have to be trained here, beyond what makes it a model: pictures of three channels. asap::Error.
void check_trainable(const Options& options);

DatasetOptions dataset_options(const Options& options);
Half input_half(const TrainOptions& options);  // of A|B pictures, by `direction`
PreprocessOptions preprocess_options(const Options& options);
asapnet::OptimizerConfig optimizer_config(const TrainOptions& options);

// The device of that name; asap::Error unless it is cpu or cuda and this build and machine have it.
Device available_device(const std::string& name);

}  // namespace asap::train
