// The discriminator. Declared in discriminator.h.
#include "asapnet/discriminator.h"

#include <algorithm>

namespace asap::asapnet {
namespace {

constexpr double kSlope = 0.2;

// conv 4x4 pad 2 with bias, LeakyReLU if it is not the last. State: 0.{weight,bias}.
class PlainConv : public nn::Layer {
 public:
  PlainConv(int64_t in, int64_t out, int64_t stride, bool last)
      : conv_(register_module<nn::Conv2d>("0", nn::Conv2dOptions{.in = in,
                                                                 .out = out,
                                                                 .kernel = 4,
                                                                 .stride = stride,
                                                                 .padding = 2,
                                                                 .activation_slope = last ? 1 : kSlope})) {}
  Variable forward(const Variable& x) override { return conv_(x); }

 private:
  nn::Conv2d& conv_;
};

class ConvHolder : public nn::Module {
 public:
  template <class L, class... Args>
  L& add(const std::string& name, Args&&... args) {
    return register_module<L>(name, std::forward<Args>(args)...);
  }
};

// conv 4x4 pad 2 without bias -> instance norm -> LeakyReLU. State: 0.0.{weight_orig,weight_u,weight_v} (no affine norm), or
// 0.0.weight, 0.1.{weight,bias} with norm_D = instanceaffine.
class NormConv : public nn::Layer {
 public:
  NormConv(int64_t in, int64_t out, int64_t stride, bool spectral) {
    const nn::Conv2dOptions options{.in = in, .out = out, .kernel = 4, .stride = stride, .padding = 2, .bias = false};
    auto& holder = register_module<ConvHolder>("0");
    conv_ = spectral ? static_cast<nn::Layer*>(&holder.add<nn::SpectralConv2d>("0", options))
                     : &holder.add<nn::Conv2d>("0", options);
    norm_ = &holder.add<nn::InstanceNorm2d>("1", out, !spectral, kSlope);
  }
  Variable forward(const Variable& x) override { return (*norm_)((*conv_)(x)); }

 private:
  nn::Layer* conv_;
  nn::InstanceNorm2d* norm_;
};

}  // namespace

PatchDiscriminator::PatchDiscriminator(const Config& config, int64_t input_channels) {
  auto name = [this] { return "model" + std::to_string(layers_.size()); };
  int64_t channels = config.ndf;
  layers_.push_back(&register_module<PlainConv>(name(), input_channels, channels, 2, false));
  for (int64_t i = 1; i < config.n_layers_D; ++i) {
    const int64_t out = std::min(channels * 2, config.ndf_max);
    const int64_t stride = i == config.n_layers_D - 1 ? 1 : 2;
    layers_.push_back(&register_module<NormConv>(name(), channels, out, stride, config.norm_D == "spectralinstance"));
    channels = out;
  }
  layers_.push_back(&register_module<PlainConv>(name(), channels, 1, 1, true));
}

ScaleOutputs PatchDiscriminator::forward(const Variable& x) {
  ScaleOutputs outputs;
  for (nn::Layer* layer : layers_) outputs.push_back((*layer)(outputs.empty() ? x : outputs.back()));
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
