// Convolution (cross-correlation) and the two gradients of its sums. Contract: kernels.h. Next: norm.h.
#pragma once

#include "tensor/definitions/padded_index.h"
#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// Which row (or column) of x the tap `k` of output `o` reads; negative: none, a zero of the padding.
ASAP_HOST_DEVICE inline int64_t read_index(int64_t o, int64_t k, int64_t stride, int64_t padding, int64_t dilation,
                                           int64_t size, PadMode mode) {
  return padded_index(o * stride - padding + k * dilation, size, mode);
}

// Which output reads position `i` through tap `k`; negative: none. Zero padding.
ASAP_HOST_DEVICE inline int64_t reader_index(int64_t i, int64_t k, int64_t stride, int64_t padding, int64_t dilation,
                                             int64_t outputs) {
  const int64_t place = i + padding - k * dilation;
  return place >= 0 && place % stride == 0 && place / stride < outputs ? place / stride : -1;
}

// y[n,o,oh,ow] = act(bias[o] + sum over c,kh,kw of w[o,c,kh,kw] * x[n, c of o's group, ih, iw]).
struct Conv2dForward {
  View x, w, bias;
  Conv2dParams p;

  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    const int64_t n = y[0], o = y[1], group = o / (w.size(0) / p.groups), first_c = group * w.size(1);
    double sum = bias.defined() ? bias(o) : 0;
    for (int64_t kh = 0; kh < w.size(2); ++kh) {
      const int64_t ih = read_index(y[2], kh, p.stride.h, p.padding.h, p.dilation.h, x.size(2), p.pad_mode);
      if (ih < 0) continue;
      for (int64_t kw = 0; kw < w.size(3); ++kw) {
        const int64_t iw = read_index(y[3], kw, p.stride.w, p.padding.w, p.dilation.w, x.size(3), p.pad_mode);
        if (iw < 0) continue;
        for (int64_t c = 0; c < w.size(1); ++c) sum += w(o, c, kh, kw) * x(n, first_c + c, ih, iw);
      }
    }
    return activate(sum, p.activation_slope);
  }
};

// dx[n,c,ih,iw] = sum over the outputs (o,oh,ow) that read this pixel through (kh,kw) of w[o,c,kh,kw] * dy[n,o,oh,ow].
struct Conv2dInputGrad {
  View dy, w;
  Conv2dParams p;

  ASAP_HOST_DEVICE double operator()(const Position& dx) const {
    const int64_t n = dx[0], per_group = w.size(0) / p.groups, c = dx[1] % w.size(1);
    const int64_t first_o = dx[1] / w.size(1) * per_group;
    double sum = 0;
    for (int64_t kh = 0; kh < w.size(2); ++kh) {
      const int64_t oh = reader_index(dx[2], kh, p.stride.h, p.padding.h, p.dilation.h, dy.size(2));
      if (oh < 0) continue;
      for (int64_t kw = 0; kw < w.size(3); ++kw) {
        const int64_t ow = reader_index(dx[3], kw, p.stride.w, p.padding.w, p.dilation.w, dy.size(3));
        if (ow < 0) continue;
        for (int64_t o = first_o; o < first_o + per_group; ++o) sum += w(o, c, kh, kw) * dy(n, o, oh, ow);
      }
    }
    return sum;
  }
};

// dw[o,c,kh,kw] = sum over n,oh,ow of dy[n,o,oh,ow] * x[n, c of o's group, ih, iw].
struct Conv2dWeightGrad {
  View x, dy;
  Conv2dParams p;
  int64_t per_group;  // dw's first size over the groups

  ASAP_HOST_DEVICE double operator()(const Position& dw) const {
    const int64_t o = dw[0], c = o / per_group * (x.size(1) / p.groups) + dw[1];
    double sum = 0;
    for (int64_t n = 0; n < x.size(0); ++n) {
      for (int64_t oh = 0; oh < dy.size(2); ++oh) {
        const int64_t ih = read_index(oh, dw[2], p.stride.h, p.padding.h, p.dilation.h, x.size(2), p.pad_mode);
        if (ih < 0) continue;
        for (int64_t ow = 0; ow < dy.size(3); ++ow) {
          const int64_t iw = read_index(ow, dw[3], p.stride.w, p.padding.w, p.dilation.w, x.size(3), p.pad_mode);
          if (iw >= 0) sum += dy(n, o, oh, ow) * x(n, c, ih, iw);
        }
      }
    }
    return sum;
  }
};

template <class Run>
void add_conv2d(Device device) {
  kernels::conv2d_forward.add_definition(device, [](const Tensor& x, const Tensor& w, const Tensor& bias,
                                                    const Conv2dParams& p, Tensor& y) {
    Run::each(y, Conv2dForward{x, w, bias, p});
  });
  kernels::conv2d_input_grad.add_definition(
      device, [](const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
        Run::each(dx, Conv2dInputGrad{dy, w, p});
      });
  kernels::conv2d_weight_grad.add_definition(
      device, [](const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
        Run::each(dw, Conv2dWeightGrad{x, dy, p, dw.size(0) / p.groups});
      });
}

}  // namespace asap::definitions
