// The discriminator. Declared in discriminator.h.
#include "asapnet/discriminator.h"

#include <algorithm>

namespace asap::asapnet {
namespace {

constexpr double kSlope = 0.2;

nn::Conv2dOptions conv(int64_t in, int64_t out, int64_t stride) {
  return {.in = in, .out = out, .kernel = 4, .stride = stride, .padding = 2};
}

}  // namespace

// First conv -> LeakyReLU, then conv without bias -> instance norm -> LeakyReLU, last conv alone. State of the first and the
// last: model{i}.0.{weight,bias}; of the others: model{i}.0.0.{weight_orig,weight_u,weight_v} (no affine norm), or
// model{i}.0.0.weight, model{i}.0.1.{weight,bias} with norm_D = instanceaffine.
PatchDiscriminator::PatchDiscriminator(const Config& config, int64_t input_channels) {
  const bool spectral = config.norm_D == "spectralinstance";
  const auto add_layer = [this]() -> nn::Sequential& {
    layers_.push_back(&register_module<nn::Sequential>("model" + std::to_string(layers_.size())));
    return *layers_.back();
  };
  int64_t channels = config.ndf;
  nn::Conv2dOptions first = conv(input_channels, channels, 2);
  first.activation_slope = kSlope;
  add_layer().add<nn::Conv2d>(first);
  for (int64_t i = 1; i < config.n_layers_D; ++i) {
    const int64_t out = std::min(channels * 2, config.ndf_max);
    nn::Conv2dOptions options = conv(channels, out, i == config.n_layers_D - 1 ? 1 : 2);
    options.bias = false;
    auto& block = add_layer().add<nn::Sequential>();
    if (spectral) {
      block.add<nn::SpectralConv2d>(options);
    } else {
      block.add<nn::Conv2d>(options);
    }
    block.add<nn::InstanceNorm2d>(out, !spectral, kSlope);
    channels = out;
  }
  add_layer().add<nn::Conv2d>(conv(channels, 1, 1));
}

ScaleOutputs PatchDiscriminator::forward(const Variable& x) {
  ScaleOutputs outputs;
  for (nn::Sequential* layer : layers_) outputs.push_back((*layer)(outputs.empty() ? x : outputs.back()));
  outputs.back() = convert(outputs.back(), sum_dtype(x.dtype()));  // for the losses
  return outputs;
}

Discriminator::Discriminator(const Config& config) {
  for (int64_t d = 0; d < config.num_D; ++d) {
    scales_.push_back(&register_module<PatchDiscriminator>("discriminator_" + std::to_string(d), config,
                                                           config.input_channels() + config.output_nc));
  }
}

std::vector<ScaleOutputs> Discriminator::forward(const Variable& x) {
  std::vector<ScaleOutputs> outputs;
  Variable input = x;
  for (PatchDiscriminator* scale : scales_) {
    if (!outputs.empty()) input = avg_pool2d(input, {.kernel = 3, .stride = 2, .padding = 1, .count_include_pad = false});
    outputs.push_back(scale->forward(input));
  }
  return outputs;
}

}  // namespace asap::asapnet
