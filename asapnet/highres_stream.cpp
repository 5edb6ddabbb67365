// The high-res stream. Declared in highres_stream.h.
#include "asapnet/highres_stream.h"

#include <cmath>
#include <numbers>

namespace asap::asapnet {

TileMlpParams mlp_params(const Config& config) {
  return {.tile = config.tile(), .width = config.hr_width, .depth = config.hr_depth, .out = config.output_nc,
          .classes = config.label_channels()};
}

Tensor positional_encoding(int64_t height, int64_t width, int64_t tile) {
  std::vector<float> values;
  for (int64_t f = tile; f >= 2; f /= 2) {
    for (int channel = 0; channel < 4; ++channel) {
      for (int64_t y = 0; y < height; ++y) {
        for (int64_t x = 0; x < width; ++x) {
          const auto position = static_cast<double>((channel < 2 ? x : y) % f);
          const double angle = 2 * std::numbers::pi * position / static_cast<double>(f);
          values.push_back(static_cast<float>(channel % 2 == 0 ? std::cos(angle) : std::sin(angle)));
        }
      }
    }
  }
  const int64_t channels = static_cast<int64_t>(values.size()) / (height * width);
  return Tensor::from(values, {1, channels, height, width});
}

Variable highres_input(const Tensor& labels, const Variable& x, const Config& config) {
  if (labels.defined()) return config.lr_instance ? Variable() : x;
  return slice(x, 1, 0, config.highres_channels());
}

Variable highres_stream(const Tensor& labels, const Variable& x, const Variable& phi, const Config& config) {
  return tile_mlp(labels, highres_input(labels, x, config), phi, mlp_params(config));
}

}  // namespace asap::asapnet
