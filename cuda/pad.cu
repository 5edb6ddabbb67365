// Padding of the last two dimensions. Both directions are gathers: a pixel of dx adds up the places that read it, so that no
// two threads write one element. Next: pool.cu.
#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// Sizes of the small planes (H x W) and of the padded ones (PH x PW).
struct Sizes {
  int64_t H, W, PH, PW;
  Sizes(const Tensor& small, const Tensor& padded)
      : H(small.size(2)), W(small.size(3)), PH(padded.size(2)), PW(padded.size(3)) {}
};

// Which of 0..n-1 the position i inside or outside of it reads; -1 where it reads zero.
template <class Int>
__device__ __forceinline__ Int source_index(Int i, Int n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  if (mode == PadMode::zero) return -1;
  if (mode == PadMode::reflect) return i < 0 ? -i : 2 * (n - 1) - i;
  return i < 0 ? 0 : n - 1;
}

// Calls f(i) for the positions i of the padded axis that read position k of 0..n-1: its own place, then those of the border.
template <class Int, class F>
__device__ __forceinline__ void for_each_reader(Int k, Int n, Int before, Int after, PadMode mode, F&& f) {
  f(before + k);
  if (mode == PadMode::reflect) {
    if (k >= 1 && k <= before) f(before - k);
    if (k <= n - 2 && k >= n - 1 - after) f(before + 2 * (n - 1) - k);
  } else if (mode == PadMode::replicate) {
    for (Int i = 0; k == 0 && i < before; ++i) f(i);
    for (Int i = 0; k == n - 1 && i < after; ++i) f(before + n + i);
  }
}

// ---- naive: the definition ------------------------------------------------------------------------------------------

template <class T>
__global__ void pad2d_forward_kernel(const T* x, Pad2dParams p, Sizes size, int64_t count, T* y) {
  for_each_index(count, [=](int64_t i) {
    const int64_t plane = i / (size.PH * size.PW);
    const int64_t h = source_index(i / size.PW % size.PH - p.top, size.H, p.mode);
    const int64_t w = source_index(i % size.PW - p.left, size.W, p.mode);
    y[i] = h < 0 || w < 0 ? T(0) : x[(plane * size.H + h) * size.W + w];
  });
}

template <class T>
__global__ void pad2d_backward_kernel(const T* dy, Pad2dParams p, Sizes size, int64_t count, T* dx) {
  for_each_index(count, [=](int64_t i) {
    const int64_t plane = i / (size.H * size.W), h = i / size.W % size.H, w = i % size.W;
    T sum = 0;
    for_each_reader(h, size.H, p.top, p.bottom, p.mode, [&](int64_t row) {
      for_each_reader(w, size.W, p.left, p.right, p.mode,
                      [&](int64_t column) { sum += dy[(plane * size.PH + row) * size.PW + column]; });
    });
    dx[i] = sum;
  });
}

void pad2d_forward_naive(const Tensor& x, const Pad2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "pad2d", [&](auto tag) {
    using T = decltype(tag);
    launch(pad2d_forward_kernel<T>, {blocks_for(y.numel()), kBlock}, x.data<T>(), p, Sizes(x, y), y.numel(),
           y.data<T>());
  });
}

void pad2d_backward_naive(const Tensor& dy, const Pad2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "pad2d_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(pad2d_backward_kernel<T>, {blocks_for(dx.numel()), kBlock}, dy.data<T>(), p, Sizes(dx, dy), dx.numel(),
           dx.data<T>());
  });
}

}  // namespace

void register_pad() {
  kernels::pad2d_forward.add(Device::cuda, "naive", pad2d_forward_naive);
  kernels::pad2d_backward.add(Device::cuda, "naive", pad2d_backward_naive);
}

}  // namespace asap::cuda
