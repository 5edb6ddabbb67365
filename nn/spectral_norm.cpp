// Spectrally normalised convolution. Declared in spectral_norm.h.
#include "nn/spectral_norm.h"

#include "nn/init.h"

namespace asap::nn {
namespace {

Tensor random_direction(int64_t size) {
  Tensor x = Tensor::empty({size});
  init::normal(x, 0, 1);
  return div(x, unary(UnaryOp::sqrt, sum(mul(x, x))));
}

}  // namespace

SpectralConv2d::SpectralConv2d(const Conv2dOptions& options) : options_(options) {
  const Shape shape = options.weight_shape();
  const int64_t fan_in = shape.numel() / shape[0];
  Tensor w = Tensor::empty(shape);
  init::fan_in_uniform(w, fan_in);
  if (options.bias) {
    Tensor b = Tensor::empty({options.out});
    init::fan_in_uniform(b, fan_in);
    bias = register_parameter("bias", b);
  }
  weight_orig = register_parameter("weight_orig", w);
  weight_u_ = register_buffer("weight_u", random_direction(shape[0]));
  weight_v_ = register_buffer("weight_v", random_direction(fan_in));
}

Variable SpectralConv2d::forward(const Variable& x) {
  Tensor u = weight_u_.value(), v = weight_v_.value();
  const Variable weight = spectral_norm(weight_orig, {.power_iteration = is_training()}, u, v);
  return conv2d(x, weight, bias, options_.params());
}

}  // namespace asap::nn
