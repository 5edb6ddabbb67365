// Checked convolution: forward with bias and activation, input gradient, weight gradient. Declared in ops.h; kernels:
// conv2d_forward, conv2d_input_grad, conv2d_weight_grad.
#include "tensor/operands.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// Output size along one axis; `kernel` counts the gaps that dilation opens.
int64_t output_size(const char* axis, int64_t n, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t extent = add_sizes(multiply_sizes(dilation, kernel - 1, "conv2d"), 1, "conv2d");
  const int64_t padded = add_sizes(n, multiply_sizes(2, padding, "conv2d"), "conv2d");
  ASAP_CHECK(padded >= extent, "conv2d: the kernel covers ", extent, " pixels of ", axis, ", but x has ", n, " + 2*",
             padding, " of padding");
  return (padded - extent) / stride + 1;
}

// The parameters with a stride that no second output, and a dilation that no second tap has use for as small as they can be:
// kernels count and allocate with them.
Conv2dParams bounded(const Shape& x, const Shape& w, Conv2dParams p) {
  const auto bound = [](int64_t n, int64_t kernel, int64_t padding, int64_t& stride, int64_t& dilation) {
    const int64_t padded = n + 2 * padding;
    if (kernel == 1) dilation = 1;
    if (stride > padded) stride = padded - dilation * (kernel - 1);
  };
  bound(x[2], w[2], p.padding.h, p.stride.h, p.dilation.h);
  bound(x[3], w[3], p.padding.w, p.stride.w, p.dilation.w);
  return p;
}

// The sum over no terms at all: an empty x, w or dy.
bool nothing_to_sum(const Tensor& a, const Tensor& b) { return a.numel() == 0 || b.numel() == 0; }

// conv2d's y where there is nothing to sum.
Tensor activated_bias(const Tensor& bias, double slope, Tensor y) {
  y.fill(0);
  if (!bias.defined()) return y;
  y.copy_from(bias.unsqueeze(1).unsqueeze(2).expand(y.shape()));
  return unary(UnaryOp::leaky_relu, y, {.a = slope});
}

}  // namespace

Shape conv2d_shape(const Shape& x, const Shape& w, const Conv2dParams& p) {
  checks::has_rank("conv2d", "x", x, 4);
  checks::has_rank("conv2d", "w", w, 4);
  ASAP_CHECK(p.stride.h > 0 && p.stride.w > 0 && p.dilation.h > 0 && p.dilation.w > 0 && p.groups > 0 &&
                 p.padding.h >= 0 && p.padding.w >= 0,
             "conv2d: expected positive stride, dilation and groups and no negative padding");
  const int64_t channels = multiply_sizes(w[1], p.groups, "conv2d");
  ASAP_CHECK(x[1] == channels, "conv2d: x has ", x[1], " channels, but w ", w, " with groups=", p.groups, " needs ",
             channels);
  ASAP_CHECK(w[0] % p.groups == 0, "conv2d: w ", w, " has ", w[0], " output channels, which ", p.groups,
             " groups do not divide");
  ASAP_CHECK(w[2] > 0 && w[3] > 0, "conv2d: w ", w, " has no taps");
  if (p.pad_mode == PadMode::reflect) {
    ASAP_CHECK(p.padding.h < x[2] && p.padding.w < x[3],
               "conv2d: reflect padding must be smaller than the picture: height ", p.padding.h, ", width ",
               p.padding.w, " for shape ", x);
  } else if (p.pad_mode == PadMode::replicate) {
    ASAP_CHECK(x[2] > 0 && x[3] > 0, "conv2d: replicate padding needs a pixel to repeat, got shape ", x);
  }
  return {x[0], w[0], output_size("height", x[2], w[2], p.stride.h, p.padding.h, p.dilation.h),
          output_size("width", x[3], w[3], p.stride.w, p.padding.w, p.dilation.w)};
}

Shape conv_transpose2d_shape(const Shape& x, const Shape& w, const ConvTranspose2dParams& p) {
  constexpr const char* kOp = "conv_transpose2d";
  checks::has_rank(kOp, "x", x, 4);
  checks::has_rank(kOp, "w", w, 4);
  ASAP_CHECK(p.stride.h > 0 && p.stride.w > 0 && p.dilation.h > 0 && p.dilation.w > 0 && p.groups > 0 &&
                 p.padding.h >= 0 && p.padding.w >= 0,
             kOp, ": expected positive stride, dilation and groups and no negative padding");
  ASAP_CHECK(p.output_padding.h >= 0 && p.output_padding.w >= 0 && p.output_padding.h < p.stride.h &&
                 p.output_padding.w < p.stride.w,
             kOp, ": expected an output padding from 0 to less than the stride, got (", p.output_padding.h, ",",
             p.output_padding.w, ") with stride (", p.stride.h, ",", p.stride.w, ")");
  ASAP_CHECK(x[1] == w[0] && x[1] % p.groups == 0, kOp, ": x has ", x[1], " channels, but w ", w, " with groups=", p.groups,
             " needs ", w[0], ", which the groups must divide");
  ASAP_CHECK(w[2] > 0 && w[3] > 0, kOp, ": w ", w, " has no taps");
  const auto size = [&](int64_t n, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, int64_t more) {
    ASAP_CHECK(n > 0, kOp, ": expected pictures with pixels, got shape ", x);
    const int64_t steps = multiply_sizes(n - 1, stride, kOp), extent = multiply_sizes(dilation, kernel - 1, kOp);
    const int64_t whole = add_sizes(add_sizes(steps, extent, kOp), more + 1, kOp), cut = multiply_sizes(2, padding, kOp);
    ASAP_CHECK(whole > cut, kOp, ": nothing is left of ", whole, " rows or columns without ", cut, " of padding");
    return whole - cut;
  };
  return {x[0], multiply_sizes(w[1], p.groups, kOp),
          size(x[2], w[2], p.stride.h, p.padding.h, p.dilation.h, p.output_padding.h),
          size(x[3], w[3], p.stride.w, p.padding.w, p.dilation.w, p.output_padding.w)};
}

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& params) {
  checks::is_floating("conv2d", "x", x);
  const Tensor weights = product_operand("conv2d", x, w);
  ASAP_CHECK(params.activation_slope >= 0, "conv2d: expected an activation slope of at least 0, got ",
             params.activation_slope);
  Tensor y = Tensor::like(x, conv2d_shape(x.shape(), w.shape(), params));
  if (bias.defined()) {
    checks::has_sum_dtype("conv2d", "bias", x, bias);
    checks::has_shape("conv2d", "bias", bias, {w.size(0)});
  }
  if (nothing_to_sum(x, w)) return activated_bias(bias, params.activation_slope, y);
  kernels::conv2d_forward.run(x.device(), x, weights, bias, bounded(x.shape(), w.shape(), params), y);
  return y;
}

Tensor conv2d_input_grad(const Tensor& dy, const Tensor& w, const Shape& x_shape, const Conv2dParams& params) {
  checks::is_floating("conv2d_input_grad", "dy", dy);
  const Tensor weights = product_operand("conv2d_input_grad", dy, w);
  checks::has_shape("conv2d_input_grad", "dy", dy, conv2d_shape(x_shape, w.shape(), params));
  if (params.pad_mode != PadMode::zero && params.padding != Size2(0)) {
    const Size2 border = params.padding;
    const Pad2dParams pad{
        .mode = params.pad_mode, .left = border.w, .right = border.w, .top = border.h, .bottom = border.h};
    Conv2dParams unpadded = params;
    unpadded.padding = 0;
    return pad2d_backward(conv2d_input_grad(dy, weights, pad2d_shape(x_shape, pad), unpadded), x_shape, pad);
  }
  Tensor dx = Tensor::like(dy, x_shape);
  if (nothing_to_sum(dy, w)) {
    dx.fill(0);
  } else if (dx.numel() > 0) {
    kernels::conv2d_input_grad.run(dy.device(), cotangent_operand(weights, dy), weights, bounded(x_shape, w.shape(), params), dx);
  }
  return dx;
}

Tensor conv2d_weight_grad(const Tensor& x, const Tensor& dy, const Shape& w_shape, const Conv2dParams& params,
                          std::optional<DType> dtype) {
  checks::is_floating("conv2d_weight_grad", "x", x);
  checks::alike("conv2d_weight_grad", x, dy);
  checks::has_shape("conv2d_weight_grad", "dy", dy, conv2d_shape(x.shape(), w_shape, params));
  Tensor dw = Tensor::empty(w_shape, dtype.value_or(x.dtype()), x.device());
  if (nothing_to_sum(x, dy)) {
    dw.fill(0);
  } else {
    kernels::conv2d_weight_grad.run(x.device(), x, cotangent_operand(x, dy), bounded(x.shape(), w_shape, params), dw);
  }
  return dw;
}

}  // namespace asap
