// The high-res stream. Declared in highres_stream.h.
#include "asapnet/highres_stream.h"

namespace asap::asapnet {

TileMlpParams mlp_params(const Config& config) {
  return {.tile = config.tile(), .width = config.hr_width, .depth = config.hr_depth, .out = config.output_nc,
          .classes = config.label_channels()};
}

Variable highres_input(const Tensor& labels, const Variable& x, const Config& config) {
  if (labels.defined()) return config.lr_instance ? Variable() : x;
  return slice(x, 1, 0, config.highres_channels());
}

Variable highres_stream(const Tensor& labels, const Variable& x, const Variable& phi, const Config& config) {
  return tile_mlp(labels, highres_input(labels, x, config), phi, mlp_params(config));
}

}  // namespace asap::asapnet
