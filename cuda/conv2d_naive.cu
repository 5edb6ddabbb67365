// Convolution by its definition, one output element a thread: y[n,o,oh,ow] = act(bias[o] + sum over c,kh,kw of w[o,c,kh,kw] *
// x[n,c,ih,iw]) with ih = oh*stride - padding + kh*dilation, where the padding mode lets it read; and the two gradients of
// the sum. The twin of tensor/cpu/conv2d_naive.cpp. Next: tile_gemm.cuh, on which the fast ones stand.
#include "cuda/common.cuh"
#include "cuda/conv2d.h"
#include "cuda/epilogue.cuh"
#include "tensor/padded_index.h"

namespace asap::cuda {
namespace {

// Element (i,j,k,l) of a tensor of rank 4 as an offset.
struct Index4 {
  int64_t size1, size2, size3;
  __device__ int64_t operator()(int64_t i, int j, int k, int l) const {
    return ((i * size1 + j) * size2 + k) * size3 + l;
  }
};
__device__ bool inside(int i, int size) { return i >= 0 && i < size; }

// Takes the last index off `i`.
__device__ int take(int64_t& i, int size) {
  const int index = static_cast<int>(i % size);
  i /= size;
  return index;
}

template <class T>
__global__ void forward_kernel(const T* x, const T* w, Epilogue<T> epilogue, Conv2dSizes s, int64_t count, T* y) {
  const Index4 at_x{s.c, s.h, s.w}, at_w{s.cg, s.kh, s.kw};
  for_each_index(count, [&](int64_t element) {
    int64_t rest = element;
    const int ow = take(rest, s.ow), oh = take(rest, s.oh), o = take(rest, s.o);
    const int64_t n = rest;
    const int first_c = o / s.og * s.cg;
    T sum = 0;
    for (int c = 0; c < s.cg; ++c) {
      for (int kh = 0; kh < s.kh; ++kh) {
        const int ih = padded_index(oh * s.stride_h - s.padding_h + kh * s.dilation_h, s.h, s.pad_mode);
        if (ih < 0) continue;
        for (int kw = 0; kw < s.kw; ++kw) {
          const int iw = padded_index(ow * s.stride_w - s.padding_w + kw * s.dilation_w, s.w, s.pad_mode);
          if (iw >= 0) sum += w[at_w(o, c, kh, kw)] * x[at_x(n, first_c + c, ih, iw)];
        }
      }
    }
    y[element] = epilogue(o, sum);
  });
}

// dx[n,c,ih,iw] = sum over the outputs (o,oh,ow) that saw this pixel through (kh,kw) of w[o,c,kh,kw] * dy[n,o,oh,ow].
template <class T>
__global__ void input_grad_kernel(const T* dy, const T* w, Conv2dSizes s, int64_t count, T* dx) {
  const Index4 at_y{s.o, s.oh, s.ow}, at_w{s.cg, s.kh, s.kw};
  for_each_index(count, [&](int64_t element) {
    int64_t rest = element;
    const int iw = take(rest, s.w), ih = take(rest, s.h), c = take(rest, s.c);
    const int64_t n = rest;
    const int first_o = c / s.cg * s.og;
    T sum = 0;
    for (int o = first_o; o < first_o + s.og; ++o) {
      for (int kh = 0; kh < s.kh; ++kh) {
        const int top = ih + s.padding_h - kh * s.dilation_h;
        if (top % s.stride_h != 0 || !inside(top / s.stride_h, s.oh)) continue;
        for (int kw = 0; kw < s.kw; ++kw) {
          const int left = iw + s.padding_w - kw * s.dilation_w;
          if (left % s.stride_w != 0 || !inside(left / s.stride_w, s.ow)) continue;
          sum += w[at_w(o, c % s.cg, kh, kw)] * dy[at_y(n, o, top / s.stride_h, left / s.stride_w)];
        }
      }
    }
    dx[element] = sum;
  });
}

// dw[o,c,kh,kw] = sum over n,oh,ow of dy[n,o,oh,ow] * x[n,c,ih,iw].
template <class T>
__global__ void weight_grad_kernel(const T* x, const T* dy, Conv2dSizes s, int64_t count, T* dw) {
  const Index4 at_x{s.c, s.h, s.w}, at_y{s.o, s.oh, s.ow};
  for_each_index(count, [&](int64_t element) {
    int64_t rest = element;
    const int kw = take(rest, s.kw), kh = take(rest, s.kh), c = take(rest, s.cg), o = static_cast<int>(rest);
    const int first_c = o / s.og * s.cg;
    T sum = 0;
    for (int n = 0; n < s.n; ++n) {
      for (int oh = 0; oh < s.oh; ++oh) {
        const int ih = padded_index(oh * s.stride_h - s.padding_h + kh * s.dilation_h, s.h, s.pad_mode);
        if (ih < 0) continue;
        for (int ow = 0; ow < s.ow; ++ow) {
          const int iw = padded_index(ow * s.stride_w - s.padding_w + kw * s.dilation_w, s.w, s.pad_mode);
          if (iw >= 0) sum += dy[at_y(n, o, oh, ow)] * x[at_x(n, first_c + c, ih, iw)];
        }
      }
    }
    dw[element] = sum;
  });
}

}  // namespace

void conv2d_forward_naive(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "conv2d_forward", [&]<class T>(T) {
    launch(forward_kernel<T>, {blocks_for(y.numel()), kBlock}, x.data<T>(), w.data<T>(),
           Epilogue<T>(bias, p.activation_slope), conv2d_sizes(x, w, p, y), y.numel(), y.data<T>());
  });
}

void conv2d_input_grad_naive(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "conv2d_input_grad", [&]<class T>(T) {
    launch(input_grad_kernel<T>, {blocks_for(dx.numel()), kBlock}, dy.data<T>(), w.data<T>(),
           conv2d_sizes(dx, w, p, dy), dx.numel(), dx.data<T>());
  });
}

void conv2d_weight_grad_naive(const Tensor& x, const Tensor& dy, const Conv2dParams& p, Tensor& dw) {
  dispatch_floating(x.dtype(), "conv2d_weight_grad", [&]<class T>(T) {
    launch(weight_grad_kernel<T>, {blocks_for(dw.numel()), kBlock}, x.data<T>(), dy.data<T>(),
           conv2d_sizes(x, dw, p, dy), dw.numel(), dw.data<T>());
  });
}

}  // namespace asap::cuda
