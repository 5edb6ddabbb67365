// Convolution by its definition, in plain loops: y[n,o,oh,ow] = act(bias[o] + sum over c,kh,kw of w[o,c,kh,kw] *
// x[n,c,ih,iw]) with ih = oh*stride - padding + kh*dilation, where the padding mode lets it read; and the two gradients of the
// sum. Every other variant is tested against this file. Next: conv2d_im2col.cpp for the fast way.
#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/parallel.h"

namespace asap::cpu {
namespace {

// A tensor of rank 4 as a plain pointer with an index operator.
template <class T>
struct View4 {
  T* data;
  int64_t size1, size2, size3;
  T& operator()(int64_t i, int64_t j, int64_t k, int64_t l) const {
    return data[((i * size1 + j) * size2 + k) * size3 + l];
  }
};
template <class T>
View4<const T> view4(const Tensor& t) {
  return {t.data<T>(), t.size(1), t.size(2), t.size(3)};
}
template <class T>
View4<T> view4(Tensor& t) {
  return {t.data<T>(), t.size(1), t.size(2), t.size(3)};
}

bool inside(int64_t i, int64_t size) { return i >= 0 && i < size; }

}  // namespace

void conv2d_forward_naive(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  dispatch_floating(x.dtype(), "conv2d_forward", [&]<class T>(T) {
    const Epilogue<T> epilogue(bias, p);
    const auto xv = view4<T>(x), wv = view4<T>(w);
    const auto yv = view4<T>(y);
    parallel_for(s.n * s.o, 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const int64_t n = plane / s.o, o = plane % s.o, first_c = o / s.og * s.cg;
        for (int64_t oh = 0; oh < s.oh; ++oh) {
          for (int64_t ow = 0; ow < s.ow; ++ow) {
            T sum = 0;
            for (int64_t c = 0; c < s.cg; ++c) {
              for (int64_t kh = 0; kh < s.kh; ++kh) {
                const int64_t ih = padded_index(oh * p.stride.h - p.padding.h + kh * p.dilation.h, s.h, p.pad_mode);
                if (ih < 0) continue;
                for (int64_t kw = 0; kw < s.kw; ++kw) {
                  const int64_t iw = padded_index(ow * p.stride.w - p.padding.w + kw * p.dilation.w, s.w, p.pad_mode);
                  if (iw >= 0) sum += wv(o, c, kh, kw) * xv(n, first_c + c, ih, iw);
                }
              }
            }
            yv(n, o, oh, ow) = epilogue.activate(sum + epilogue.shift(o));
          }
        }
      }
    });
  });
}

// dx[n,c,ih,iw] = sum over the outputs (o,oh,ow) that saw this pixel through (kh,kw) of w[o,c,kh,kw] * dy[n,o,oh,ow].
void conv2d_input_grad_naive(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  dispatch_floating(dy.dtype(), "conv2d_input_grad", [&]<class T>(T) {
    const auto dyv = view4<T>(dy), wv = view4<T>(w);
    const auto dxv = view4<T>(dx);
    parallel_for(s.n * s.c, 1, [&](int64_t begin, int64_t end) {
      for (int64_t plane = begin; plane < end; ++plane) {
        const int64_t n = plane / s.c, c = plane % s.c, first_o = c / s.cg * s.og;
        for (int64_t ih = 0; ih < s.h; ++ih) {
          for (int64_t iw = 0; iw < s.w; ++iw) {
            T sum = 0;
            for (int64_t o = first_o; o < first_o + s.og; ++o) {
              for (int64_t kh = 0; kh < s.kh; ++kh) {
                const int64_t top = ih + p.padding.h - kh * p.dilation.h;
                if (top % p.stride.h != 0 || !inside(top / p.stride.h, s.oh)) continue;
                for (int64_t kw = 0; kw < s.kw; ++kw) {
                  const int64_t left = iw + p.padding.w - kw * p.dilation.w;
                  if (left % p.stride.w != 0 || !inside(left / p.stride.w, s.ow)) continue;
                  sum += wv(o, c % s.cg, kh, kw) * dyv(n, o, top / p.stride.h, left / p.stride.w);
                }
              }
            }
            dxv(n, c, ih, iw) = sum;
          }
        }
      }
    });
  });
}

// dw[o,c,kh,kw] = sum over n,oh,ow of dy[n,o,oh,ow] * x[n,c,ih,iw].
void conv2d_weight_grad_naive(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  const Conv2dSizes s = conv2d_sizes(x, dw, p, dy);
  dispatch_floating(x.dtype(), "conv2d_weight_grad", [&]<class T>(T) {
    const auto xv = view4<T>(x), dyv = view4<T>(dy);
    const auto dwv = view4<T>(dw);
    parallel_for(s.o, 1, [&](int64_t begin, int64_t end) {
      for (int64_t o = begin; o < end; ++o) {
        const int64_t first_c = o / s.og * s.cg;
        for (int64_t c = 0; c < s.cg; ++c) {
          for (int64_t kh = 0; kh < s.kh; ++kh) {
            for (int64_t kw = 0; kw < s.kw; ++kw) {
              T sum = 0;
              for (int64_t n = 0; n < s.n; ++n) {
                for (int64_t oh = 0; oh < s.oh; ++oh) {
                  const int64_t ih = padded_index(oh * p.stride.h - p.padding.h + kh * p.dilation.h, s.h, p.pad_mode);
                  if (ih < 0) continue;
                  for (int64_t ow = 0; ow < s.ow; ++ow) {
                    const int64_t iw = padded_index(ow * p.stride.w - p.padding.w + kw * p.dilation.w, s.w, p.pad_mode);
                    if (iw >= 0) sum += dyv(n, o, oh, ow) * xv(n, first_c + c, ih, iw);
                  }
                }
              }
              dwv(o, c, kh, kw) = sum;
            }
          }
        }
      }
    });
  });
}

}  // namespace asap::cpu
