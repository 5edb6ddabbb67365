// The low-res stream. Declared in lowres_stream.h.
#include "asapnet/lowres_stream.h"

#include <bit>

#include "asapnet/highres_stream.h"
#include "tensor/definitions/label_planes.h"
#include "tensor/precision.h"

namespace asap::asapnet {
namespace {

// Weights [C,1,1,2f] of the tent filter, the same for each channel.
Tensor tent_weights(int64_t channels, int64_t factor, DType dtype, Device device) {
  std::vector<double> weights;
  for (int64_t c = 0; c < channels; ++c) {
    for (int64_t i = 0; i < 2 * factor; ++i) weights.push_back(definitions::tent_weight(i, factor));
  }
  return Tensor::from(weights, {channels, 1, 1, 2 * factor}).to(dtype).to(device);
}

// along_w as tent_weights makes it.
Variable filter(const Variable& x, int64_t factor, const Tensor& along_w) {
  const int64_t channels = x.size(1), border = factor / 2;
  const Tensor along_h = along_w.reshape({channels, 1, 2 * factor, 1});
  const Variable narrow = conv2d(
      x, along_w, {},
      {.stride = {1, factor}, .padding = {0, border}, .groups = channels, .pad_mode = PadMode::reflect});
  return conv2d(narrow, along_h, {},
                {.stride = {factor, 1}, .padding = {border, 0}, .groups = channels, .pad_mode = PadMode::reflect});
}

// The pictures of a network with such weights lie as those do, but on the CPU, which has them row-major.
Layout activation_layout(const Tensor& weight) { return weight.device() == Device::cpu ? Layout::row_major : weight.layout(); }

// The published modules' children under their published names.
struct Children : nn::Module {
  using Module::register_module;
};

}  // namespace

DType activation_dtype(const Tensor& weight) {
  const bool mixed = weight.dtype() == DType::f32 && weight.device() == Device::cpu && precision_allows(Precision::bf16);
  return mixed ? DType::bf16 : weight.dtype();
}

Variable tent_downsample(const Variable& x, int64_t factor) {
  return factor == 1 ? x : filter(x, factor, tent_weights(x.size(1), factor, x.dtype(), x.device()));
}

ConvNormRelu::ConvNormRelu(int64_t in, int64_t out, int64_t stride, const Config& config)
    : conv_(register_module<nn::Conv2d>("0", nn::Conv2dOptions{.in = in,
                                                               .out = out,
                                                               .kernel = 3,
                                                               .stride = stride,
                                                               .padding = 1,
                                                               .bias = false,
                                                               .pad_mode = config.reflection_pad  ? PadMode::reflect
                                                                           : config.replicate_pad ? PadMode::replicate
                                                                                                  : PadMode::zero})),
      norm_(register_module<nn::InstanceNorm2d>("1", out, true, 0.0)) {}

Variable ConvNormRelu::forward(const Variable& x) {
  return conv2d_instance_norm(x, conv_.weight, norm_.weight, norm_.bias, conv_.params(), norm_.params());
}

int64_t phi_channels(const Config& config) {
  return tile_mlp_parameters(config.highres_channels(), mlp_params(config));
}

LowresStream::LowresStream(const Config& config) : config_(config) {
  auto& layers = register_module<Children>("model");
  // The published Sequential's numbers (docs/asapnet.md, checkpoint keys): with padding layers a convolution takes three
  // places (pad, conv+norm, ReLU), without them two, and a residual-style block one. Its convolution sits in a conv_block,
  // behind the padding layer if there is one.
  const bool padded = config.reflection_pad || config.replicate_pad;
  const int64_t places = padded ? 3 : 2, place = padded ? 1 : 0;
  const int64_t halvings = std::countr_zero(static_cast<uint64_t>(config.learned_ds_factor));
  int64_t channels = config.input_channels();
  for (int64_t i = 0; i <= halvings; ++i) {
    const int64_t out = i == halvings ? config.lr_max_width : config.lr_width, stride = i == 0 ? 1 : 2;
    const std::string number = std::to_string(places * i + place);
    convs_.push_back(&layers.register_module<ConvNormRelu>(number, channels, out, stride, config));
    channels = out;
  }
  const int64_t first_block = places * (halvings + 1);
  for (int64_t b = 0; b < config.lr_depth; ++b) {
    auto& block = layers.register_module<Children>(std::to_string(first_block + b));
    auto& conv_block = block.register_module<Children>("conv_block");
    convs_.push_back(&conv_block.register_module<ConvNormRelu>(std::to_string(place), channels, channels, 1, config));
  }
  to_phi_ = &layers.register_module<nn::Conv2d>(
      std::to_string(first_block + config.lr_depth),
      nn::Conv2dOptions{.in = channels, .out = phi_channels(config), .kernel = 1});
  if (config.condition_on_z) z_to_features_ = &register_module<nn::Linear>("z_fc", config.z_dim, channels);
}

// The weights are kept: made anew they would cross from the host in every forward.
Variable LowresStream::downsample(const Variable& x) {
  const int64_t factor = config_.fixed_downsampling();
  if (factor == 1) return x;
  if (!tent_.defined() || tent_.dtype() != x.dtype() || tent_.device() != x.device()) {
    tent_ = tent_weights(x.size(1), factor, x.dtype(), x.device());
  }
  return filter(x, factor, tent_);
}

Variable LowresStream::forward(const Variable& x, const Variable& z, const Visit& visit) {
  return phi(downsample(x), z, visit);
}

Variable LowresStream::forward(const Tensor& labels, const Tensor& instance, const Variable& z) {
  const Tensor& weight = convs_.front()->weight();
  const LabelPlanesParams params{.classes = config_.label_channels(), .factor = config_.fixed_downsampling()};
  return phi(label_planes(labels, instance, params, activation_dtype(weight), activation_layout(weight)), z, {});
}

// From the downsampled input.
Variable LowresStream::phi(Variable h, const Variable& z, const Visit& visit) {
  const Tensor& weight = convs_.front()->weight();
  h = convert(h, activation_dtype(weight), activation_layout(weight));
  for (ConvNormRelu* conv : convs_) {
    h = (*conv)(h);
    if (visit) visit(h);
  }
  if (z_to_features_ && z.defined()) {
    // Behind the last instance norm, which would remove a constant added to a channel before it.
    h = h + convert(reshape((*z_to_features_)(z), {h.size(0), h.size(1), 1, 1}), h.dtype());
  }
  const Variable result = (*to_phi_)(h);
  if (visit) visit(result);
  return result;
}

}  // namespace asap::asapnet
