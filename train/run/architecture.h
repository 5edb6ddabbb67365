// What a weight file says about the network it belongs to: the published files are bare lists of tensors, and names and
// shapes give the configuration away (docs/asapnet.md, Configuration and Checkpoint keys). No values are read. Used by
// checkpoint.cpp and trainer.cpp (the names), generate.cpp and inspect.cpp.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "asapnet/config.h"
#include "nn/network_weights.h"

namespace asap::train {

enum class NetworkKind { generator, discriminator, encoder, vgg };
const char* name(NetworkKind kind);
// What the network's keys begin with (NetworkWeights).
const char* signature(NetworkKind kind);
// All networks that the file holds.
std::vector<NetworkKind> network_kinds(const nn::CheckpointFile& file);

// Prints what was done to the names of the file's tensors to standard error, a line each.
void say_notes(const nn::CheckpointFile& file, const nn::NetworkWeights& weights);

using Tensors = std::vector<nn::TensorInfo>;  // under the network's own names

struct InferredConfig {
  asapnet::Config config;
  std::vector<std::string> assumed;  // what the file cannot tell, each as a clause: "reflection padding (...)"
};

// The configuration of a generator's weights: the published width and depth of the high-res stream, or powers of two;
// odd ones fit by chance more often than by intent, so those are the user's to give. `overlay` sets the options the
// user gave: they limit the search. asap::Error naming `source`: not a generator's weights; an option that does not fit
// (with what would); no or more than one configuration fits (with what to give).
InferredConfig infer_generator(const Tensors& weights, const std::string& source,
                               const std::function<void(asapnet::Config&)>& overlay);

// asap::Error when a generator of that configuration is so much larger than what the file holds that its weights cannot
// be in there: to be asked before one is made.
void check_size_of_generator(const nn::CheckpointFile& file, const Tensors& weights, const asapnet::Config& config);

// num_D, ndf, ndf_max, n_layers_D, norm_D and the input channels (as label_nc) of a discriminator's weights. Spectral
// norm leaves no trace where it was removed; then the norm is spectralinstance, and `note` says so.
asapnet::Config infer_discriminator(const Tensors& weights, std::string& note);

}  // namespace asap::train
