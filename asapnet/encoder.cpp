// The variational encoder. Declared in encoder.h.
#include "asapnet/encoder.h"

namespace asap::asapnet {
namespace {

constexpr int64_t kInputSize = 256;
constexpr double kSlope = 0.2;

}  // namespace

Encoder::Encoder(const Config& config) {
  std::vector<int64_t> widths{1, 2, 4, 8, 8};
  if (config.crop_size >= 256) widths.push_back(8);
  int64_t channels = config.output_nc, side = kInputSize;
  for (size_t i = 0; i < widths.size(); ++i) {
    const int64_t out = config.ngf * widths[i];
    auto& layer = register_module<nn::Sequential>("layer" + std::to_string(i + 1));
    layer.add<nn::SpectralConv2d>(
        nn::Conv2dOptions{.in = channels, .out = out, .kernel = 3, .stride = 2, .padding = 1, .bias = false});
    layer.add<nn::InstanceNorm2d>(out, false, kSlope);
    layers_.push_back(&layer);
    channels = out;
    side /= 2;
  }
  to_mu_ = &register_module<nn::Linear>("fc_mu", channels * side * side, config.z_dim);
  to_logvar_ = &register_module<nn::Linear>("fc_var", channels * side * side, config.z_dim);
}

EncoderResult Encoder::forward(const Variable& image) {
  Variable h = image;
  if (image.size(2) != kInputSize || image.size(3) != kInputSize) h = resize2d(h, kInputSize, ResizeMode::bilinear);
  for (nn::Sequential* layer : layers_) h = (*layer)(h);
  h = reshape(h, {h.size(0), h.numel() / h.size(0)});
  return {(*to_mu_)(h), (*to_logvar_)(h)};
}

Variable reparameterize(const EncoderResult& encoded, const Tensor& normal) {
  return encoded.mu + exp(encoded.logvar * 0.5) * normal;
}

Variable kl_divergence(const EncoderResult& encoded) {
  return sum(encoded.logvar + 1.0 - square(encoded.mu) - exp(encoded.logvar)) * -0.5;
}

}  // namespace asap::asapnet
