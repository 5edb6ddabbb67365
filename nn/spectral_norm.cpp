// Spectrally normalised convolution. Declared in spectral_norm.h.
#include "nn/spectral_norm.h"

#include <limits>

#include "nn/init.h"
#include "tensor/checks.h"

namespace asap::nn {
namespace {

// x / max(|x|, eps) of a column.
Tensor normalized(const Tensor& x, double eps) {
  const Tensor norm = unary(UnaryOp::sqrt, matmul(x, x, true));
  return div(x, unary(UnaryOp::clamp, norm, {.a = eps, .b = std::numeric_limits<double>::infinity()}));
}

Tensor random_direction(int64_t size) {
  Tensor x = Tensor::empty({size, 1});
  init::normal(x, 0, 1);
  return normalized(x, 0).squeeze(1);
}

void check_spectral_norm(const Tensor& w, const Tensor& u, const Tensor& v) {
  checks::is_floating("spectral_norm", "w", w);
  ASAP_CHECK(w.dtype() != DType::bf16, "spectral_norm: expected w to be f32 or f64, got bf16");
  ASAP_CHECK(w.rank() >= 2 && w.numel() > 0, "spectral_norm: expected w [M,...] with elements, got shape ", w.shape());
  for (const Tensor* t : {&u, &v}) checks::alike("spectral_norm", w, *t);
  checks::has_shape("spectral_norm", "u", u, {w.size(0)});
  checks::has_shape("spectral_norm", "v", v, {w.numel() / w.size(0)});
}

}  // namespace

// A graph holds columns of its own: the next forward may write u and v before this one's backward has run.
Variable spectral_norm(const Variable& w, const SpectralNormParams& params, Tensor& u, Tensor& v) {
  check_spectral_norm(w.value(), u, v);
  const Variable matrix = reshape(w, {w.size(0), -1});
  const bool renew = params.power_iteration, recorded = w.requires_grad() && grad_enabled();
  const auto column = [&](const Tensor& x) { return (recorded ? x.clone() : x).unsqueeze(1); };
  const Tensor right = renew ? normalized(matmul(matrix.value(), u.unsqueeze(1), true), params.eps) : column(v);
  const Variable product = matmul(matrix, right);
  const Tensor left = renew ? normalized(product.value(), params.eps) : column(u);
  if (renew) {
    v.copy_from(right.squeeze(1));
    u.copy_from(left.squeeze(1));
  }
  return w / matmul(left, product, true);
}

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
