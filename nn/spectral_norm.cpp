// Spectrally normalised convolution. Declared in spectral_norm.h.
#include "nn/spectral_norm.h"

#include <limits>

#include "nn/init.h"

namespace asap::nn {
namespace {

constexpr double kNormFloor = 1e-12;

// x / max(|x|, 1e-12), where x lies: reading the norm would make every forward wait for the device.
Tensor normalize(const Tensor& x) {
  const Tensor norm = unary(UnaryOp::sqrt, sum(mul(x, x)));
  return div(x, unary(UnaryOp::clamp, norm, {.a = kNormFloor, .b = std::numeric_limits<double>::infinity()}));
}

Tensor random_direction(int64_t size) {
  Tensor x = Tensor::empty({size});
  init::normal(x, 0, 1);
  return normalize(x);
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

void SpectralConv2d::power_iteration() {
  Tensor u = weight_u_.value(), v = weight_v_.value();
  const Tensor w = weight_orig.value().reshape({u.numel(), v.numel()});
  v.copy_from(normalize(matmul(u.reshape({1, -1}), w).reshape(v.shape())));
  u.copy_from(normalize(matmul(w, v.reshape({-1, 1})).reshape(u.shape())));
}

Variable SpectralConv2d::forward(const Variable& x) {
  if (is_training()) power_iteration();
  // Copies: the next forward's power iteration writes the buffers before this one's backward may have run.
  const Variable u = weight_u_.value().clone(), v = weight_v_.value().clone();
  const Variable w = reshape(weight_orig, {u.numel(), v.numel()});
  const Variable sigma = sum(reshape(matmul(w, reshape(v, {v.numel(), 1})), u.shape()) * u);
  return conv2d(x, weight_orig / sigma, bias, options_.params());
}

}  // namespace asap::nn
