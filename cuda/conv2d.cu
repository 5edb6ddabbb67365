// Registers the convolution kernels of the card, fastest first: less exact ones, where the precision allows them, before more
// exact ones. Next: conv2d_forward.cu.
#include "cuda/conv2d.h"

#include "cuda/conv2d_operands.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// Whether offsets fit 32 bits, and windows the masks of a Place.
bool takes_implicit_gemm(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  constexpr int64_t kMost = int64_t{1} << 31, kMostParts = 65535;  // offsets; blocks in z
  const int64_t padded = x.size(0) * x.size(1) * (x.size(2) + 2 * p.padding.h) * (x.size(3) + 2 * p.padding.w);
  return x.dtype() == DType::f32 && padded < kMost && w.numel() < kMost && y.numel() < kMost &&
         w.size(2) <= kMostTaps && w.size(3) <= kMostTaps && p.groups * p.stride.h * p.stride.w <= kMostParts &&
         x.size(0) <= kMostParts && folds(conv2d_sizes(x, w, p, y));
}

}  // namespace

void register_conv2d() {
  using T = const Tensor&;
  using P = const Conv2dParams&;
  const auto add = [](const std::string& name, auto forward, auto input_grad, auto weight_grad, auto takes) {
    kernels::conv2d_forward.add(Device::cuda, name, forward,
                                [=](T x, T w, T, P p, Tensor& y) { return takes(x, w, p, y); });
    kernels::conv2d_input_grad.add(Device::cuda, name, input_grad,
                                   [=](T dy, T w, P p, Tensor& dx) { return takes(dx, w, p, dy); });
    kernels::conv2d_weight_grad.add(Device::cuda, name, weight_grad,
                                    [=](T x, T dy, P p, Tensor& dw) { return takes(x, dw, p, dy); });
  };
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f32}) {
    add(
        variant_name("implicit_gemm", precision),
        [=](T x, T w, T bias, P p, Tensor& y) { conv2d_forward_implicit_gemm(precision, x, w, bias, p, y); },
        [=](T dy, T w, P p, Tensor& dx) { conv2d_input_grad_implicit_gemm(precision, dy, w, p, dx); },
        [=](T x, T dy, P p, Tensor& dw) { conv2d_weight_grad_implicit_gemm(precision, x, dy, p, dw); },
        [=](T x, T w, P p, T y) { return precision_allows(precision) && takes_implicit_gemm(x, w, p, y); });
  }
}

}  // namespace asap::cuda
