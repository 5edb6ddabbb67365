// What a weight file says about the network it belongs to: the published files are bare lists of tensors, and names and
// shapes give the configuration away (SPEC sections 1 and 7). Used by generate and inspect.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "asapnet/config.h"
#include "nn/state_dict.h"

namespace asap::train {

enum class NetworkKind { generator, discriminator, encoder, vgg, other };
NetworkKind network_kind(const nn::StateDict& weights);
const char* name(NetworkKind kind);

struct InferredConfig {
  asapnet::Config config;
  std::vector<std::string> assumed;  // what the file cannot tell, each as a clause: "reflection padding (...)"
};

// The configuration of a generator's weights. `overlay` sets the options the user gave: they limit the search.
// asap::Error naming `source`: not a generator's weights; no or more than one configuration fits (with what to give).
InferredConfig infer_generator(const nn::StateDict& weights, const std::string& source,
                               const std::function<void(asapnet::Config&)>& overlay);

// num_D, ndf, ndf_max, n_layers_D, norm_D and the input channels (as label_nc) of a discriminator's weights.
asapnet::Config infer_discriminator(const nn::StateDict& weights);

}  // namespace asap::train
