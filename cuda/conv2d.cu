// Registers the convolution kernels of the card, fastest first: less exact ones, where the precision allows them, before more
// exact ones; split-K, where a card would stand mostly empty, before one piece. Next: conv2d_forward.cu.
#include "cuda/conv2d.h"

#include "cuda/conv2d_operands.cuh"
#include "cuda/register.h"
#include "tensor/ops.h"

namespace asap::cuda {
namespace {

// x with its padding written out, and the parameters that then remain.
Tensor with_border(const Tensor& x, const Conv2dParams& p) {
  const auto [h, w] = p.padding;
  return pad2d(x, {.mode = p.pad_mode, .left = w, .right = w, .top = h, .bottom = h});
}
Conv2dParams without_border(Conv2dParams p) {
  p.padding = 0;
  return p;
}

void add_forward(Precision precision, bool split) {
  kernels::conv2d_forward.add(
      Device::cuda, variant_name(split ? "split_k" : "implicit_gemm", precision),
      [=](const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
        if (folds(conv2d_sizes(x, w, p, y))) return conv2d_forward_implicit_gemm(precision, split, x, w, bias, p, y);
        conv2d_forward_implicit_gemm(precision, split, with_border(x, p), w, bias, without_border(p), y);
      },
      [=](const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
        return precision_allows(precision) && takes_implicit_gemm(x, w, p, y) &&
               (!split || splits_conv2d_forward(precision, x, w, p, y));
      });
}

void add_input_grad(Precision precision, bool split) {
  kernels::conv2d_input_grad.add(
      Device::cuda, variant_name(split ? "split_k" : "implicit_gemm", precision),
      [=](const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
        conv2d_input_grad_implicit_gemm(precision, split, dy, w, p, dx);
      },
      [=](const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
        return precision_allows(precision) && takes_implicit_gemm(dx, w, p, dy) &&
               (!split || splits_conv2d_input_grad(precision, dy, w, p, dx));
      });
}

void add_weight_grad(Precision precision) {
  kernels::conv2d_weight_grad.add(
      Device::cuda, variant_name("implicit_gemm", precision),
      [=](const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
        if (folds(conv2d_sizes(x, dw, p, dy))) return conv2d_weight_grad_implicit_gemm(precision, x, dy, p, dw);
        conv2d_weight_grad_implicit_gemm(precision, with_border(x, p), dy, without_border(p), dw);
      },
      [=](const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
        return precision_allows(precision) && takes_implicit_gemm(x, dw, p, dy);
      });
}

}  // namespace

bool takes_implicit_gemm(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  constexpr int64_t kMost = int64_t{1} << 31, kMostParts = 65535;  // offsets; blocks in z
  const int64_t padded = x.size(0) * x.size(1) * (x.size(2) + 2 * p.padding.h) * (x.size(3) + 2 * p.padding.w);
  return x.dtype() == DType::f32 && padded < kMost && w.numel() < kMost && y.numel() < kMost &&
         w.size(2) <= kMostTaps && w.size(3) <= kMostTaps && p.groups * p.stride.h * p.stride.w <= kMostParts &&
         x.size(0) <= kMostParts;
}

void register_conv2d() {
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f32}) {
    for (const bool split : {true, false}) {
      add_forward(precision, split);
      add_input_grad(precision, split);
    }
    add_weight_grad(precision);
  }
}

}  // namespace asap::cuda
