// The variational encoder. Declared in encoder.h.
#include "asapnet/encoder.h"

namespace asap::asapnet {
namespace {

constexpr int64_t kInputSize = 256;
constexpr double kSlope = 0.2;

// spectral-norm conv 3x3 stride 2 pad 1 -> instance norm -> LeakyReLU. State: 0.{weight_orig,weight_u,weight_v}.
class EncoderLayer : public nn::Layer {
 public:
  EncoderLayer(int64_t in, int64_t out)
      : conv_(register_module<nn::SpectralConv2d>(
            "0", nn::Conv2dOptions{.in = in, .out = out, .kernel = 3, .stride = 2, .padding = 1, .bias = false})),
        norm_(register_module<nn::InstanceNorm2d>("1", out, false, kSlope)) {}
  Variable forward(const Variable& x) override { return norm_(conv_(x)); }

 private:
  nn::SpectralConv2d& conv_;
  nn::InstanceNorm2d& norm_;
};

}  // namespace

Encoder::Encoder(const Config& config) {
  std::vector<int64_t> widths{1, 2, 4, 8, 8};
  if (config.crop_size >= 256) widths.push_back(8);
  int64_t channels = config.output_nc, side = kInputSize;
  for (size_t i = 0; i < widths.size(); ++i) {
    layers_.push_back(&register_module<EncoderLayer>("layer" + std::to_string(i + 1), channels, config.ngf * widths[i]));
    channels = config.ngf * widths[i];
    side /= 2;
  }
  to_mu_ = &register_module<nn::Linear>("fc_mu", channels * side * side, config.z_dim);
  to_logvar_ = &register_module<nn::Linear>("fc_var", channels * side * side, config.z_dim);
}

EncoderResult Encoder::forward(const Variable& image) {
  Variable h = image;
  if (image.size(2) != kInputSize || image.size(3) != kInputSize) h = resize2d(h, kInputSize, ResizeMode::bilinear);
  for (nn::Layer* layer : layers_) h = (*layer)(h);
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
