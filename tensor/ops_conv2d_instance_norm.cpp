// Checked convolution with instance norm behind it. Declared in ops.h; kernels: cpu/conv2d_instance_norm.cpp.
#include "tensor/operands.h"
#include "tensor/ops.h"

namespace asap {

Tensor conv2d_instance_norm(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta,
                            const Conv2dParams& conv_params, const NormParams& norm_params) {
  constexpr const char* kOp = "conv2d_instance_norm";
  checks::is_floating(kOp, "x", x);
  const Tensor weights = product_operand(kOp, x, w);
  const Shape shape = conv2d_shape(x.shape(), w.shape(), conv_params);
  for (const auto& [what, parameter] : {std::pair("gamma", gamma), std::pair("beta", beta)}) {
    checks::has_sum_dtype(kOp, what, x, parameter);
    checks::has_shape(kOp, what, parameter, {w.size(0)});
  }
  ASAP_CHECK(conv_params.activation_slope == 1, kOp, ": expected no activation before the norm, got slope ",
             conv_params.activation_slope);
  // Nothing to sum, or a stride that may reach far beyond the picture: conv2d knows of both.
  if (x.numel() == 0 || shape.numel() == 0 || shape[2] == 1 || shape[3] == 1) {
    return instance_norm(conv2d(x, w, {}, conv_params), gamma, beta, norm_params).y;
  }
  Tensor y = Tensor::like(x, shape);
  kernels::conv2d_instance_norm.run(x.device(), x, weights, gamma, beta, conv_params, norm_params, y);
  return y;
}

}  // namespace asap
