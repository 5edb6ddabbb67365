// Variants of the three convolution kernels on the card beside the definition, as matrix products: conv2d_forward.cu,
// conv2d_input_grad.cu and conv2d_weight_grad.cu. Registered in order of speed by conv2d.cu. Shapes as in tensor/kernels.h:
// x [N,C,H,W], w [O,C/groups,KH,KW], y [N,O,OH,OW].
#pragma once

#include "tensor/kernels.h"
#include "tensor/precision.h"

namespace asap::cuda {

// One convolution in the integers that a card is fast with; naive counts elements in 64 bits.
struct Conv2dSizes {
  int n, c, h, w;      // input
  int o, oh, ow;       // output
  int kh, kw;          // kernel
  int groups, cg, og;  // channels in and out of one group
  int stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w;
  PadMode pad_mode;
};
inline Conv2dSizes conv2d_sizes(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const auto i = [](int64_t v) { return static_cast<int>(v); };
  return {.n = i(x.size(0)),
          .c = i(x.size(1)),
          .h = i(x.size(2)),
          .w = i(x.size(3)),
          .o = i(y.size(1)),
          .oh = i(y.size(2)),
          .ow = i(y.size(3)),
          .kh = i(w.size(2)),
          .kw = i(w.size(3)),
          .groups = i(p.groups),
          .cg = i(w.size(1)),
          .og = i(y.size(1) / p.groups),
          .stride_h = i(p.stride.h),
          .stride_w = i(p.stride.w),
          .padding_h = i(p.padding.h),
          .padding_w = i(p.padding.w),
          .dilation_h = i(p.dilation.h),
          .dilation_w = i(p.dilation.w),
          .pad_mode = p.pad_mode};
}

// As matrix products, in a precision.
void conv2d_forward_implicit_gemm(Precision, const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&,
                                  Tensor& y);
void conv2d_input_grad_implicit_gemm(Precision, const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);
void conv2d_weight_grad_implicit_gemm(Precision, const Tensor& x, const Tensor& dy, const Conv2dParams&, Tensor& dw);

}  // namespace asap::cuda
