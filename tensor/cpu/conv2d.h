// Variants of the three convolution kernels beside the definition (../definitions/conv2d.h): conv2d_winograd.cpp, and as
// matrix products conv2d_implicit_gemm.cpp and conv2d_weight_grad.cpp. Registered in order of speed by conv2d.cpp.
// Shapes as in kernels.h: x [N,C,H,W], w [O,C/groups,KH,KW], y [N,O,OH,OW]; f32 and f64.
#pragma once

#include "tensor/definitions/padded_index.h"

namespace asap::cpu {

// Sizes of one convolution, read once from its tensors.
struct Conv2dSizes {
  int64_t n, c, h, w;        // input
  int64_t o, oh, ow;         // output
  int64_t kh, kw;            // kernel
  int64_t groups, cg, og;    // channels in and out of one group
};
inline Conv2dSizes conv2d_sizes(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  return {.n = x.size(0), .c = x.size(1), .h = x.size(2), .w = x.size(3),
          .o = y.size(1), .oh = y.size(2), .ow = y.size(3),
          .kh = w.size(2), .kw = w.size(3),
          .groups = p.groups, .cg = w.size(1), .og = y.size(1) / p.groups};
}

// A 1x1 kernel that steps over nothing sees a picture as one long row of pixels.
inline bool is_pointwise(const Conv2dSizes& s, const Conv2dParams& p) {
  return s.kh == 1 && s.kw == 1 && p.stride == Size2(1) && p.padding == Size2(0);
}

// A row of a picture, w pixels, staged with its border: to[q] is column first + q*step, q < count. Puts into the columns of the
// padding, where zeros stand, what the mode says.
template <class From, class To>
void fill_padding(const From* row, int64_t w, int64_t padding, PadMode mode, int64_t first, int64_t step, int64_t count, To* to) {
  if (mode == PadMode::zero) return;
  for (int64_t i = 0; i < 2 * padding; ++i) {
    const int64_t column = i < padding ? i - padding : w + i - padding, at = column - first;
    if (at >= 0 && at % step == 0 && at / step < count) to[at / step] = To(row[padded_index(column, w, mode)]);
  }
}

// What a sum of channel o becomes where it is stored: act(sum + bias[o]).
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  T slope = 1;
  Epilogue() = default;
  Epilogue(const Tensor& b, const Conv2dParams& p)
      : bias(b.defined() ? b.data<T>() : nullptr), slope(static_cast<T>(p.activation_slope)) {}
  bool changes() const { return bias || slope != 1; }
  T shift(int64_t o) const { return bias ? bias[o] : T(0); }
  // V: T or a vector of it. Inlined, both become the instructions of whoever calls (targets.h).
  template <class V>
  [[gnu::always_inline]] inline void activate(V& v) const {
    v = v > 0 ? v : slope * v;
  }
  [[gnu::always_inline]] inline void apply(int64_t o, int64_t count, T* y) const {
    const T b = shift(o);
    const Epilogue own = *this;  // which no y can be part of
    for (int64_t i = 0; i < count; ++i) {
      T v = y[i] + b;
      own.activate(v);
      y[i] = v;
    }
  }
};

void conv2d_forward_implicit_gemm(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&, Tensor& y);
void conv2d_input_grad_implicit_gemm(const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);
void conv2d_weight_grad_implicit_gemm(const Tensor& x, const Tensor& dy, const Conv2dParams&, Tensor& dw);

enum class Pass { forward, input_grad, weight_grad };
// Where 3x3 or 4x4, stride 1 or, in some passes, 2, dilation 1, one group have enough channels to be worth the transforms.
bool winograd_pays(const Conv2dSizes&, const Conv2dParams&, DType, Pass);
// And all is f32, or x, w and y are bf16; pictures row-major, weights row-major or channels-last. In the pass's own tensors:
// x and y may be dx and dy.
bool takes_winograd(const Tensor& x, const Tensor& w, const Conv2dParams&, const Tensor& y, Pass);
void conv2d_forward_winograd(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&, Tensor& y);
void conv2d_input_grad_winograd(const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);
// The same for 3x3 with products of bf16, where x, w and y are that; worth it where few pixels share the filters' transform.
bool takes_winograd_bf16(const Tensor& x, const Tensor& w, const Conv2dParams&, const Tensor& y);
bool winograd_bf16_pays(const Tensor& y);
void conv2d_forward_winograd_bf16(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&, Tensor& y);
void conv2d_input_grad_winograd_bf16(const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);
void conv2d_weight_grad_winograd(const Tensor& x, const Tensor& dy, const Conv2dParams&, Tensor& dw);

}  // namespace asap::cpu
