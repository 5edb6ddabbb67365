// Padding of the last two dimensions, forward and backward. Next: pool.cpp.
#include <cstring>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

// Which of 0..n-1 the position i outside or inside of it reads; -1 where it reads zero.
int64_t source_index(int64_t i, int64_t n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case PadMode::zero: return -1;
    case PadMode::reflect: return i < 0 ? -i : 2 * (n - 1) - i;
    case PadMode::replicate: return i < 0 ? 0 : n - 1;
  }
  fail("pad2d: unknown mode ", static_cast<int>(mode));
}

// Calls f(position in the small planes, position in the padded planes), the former -1 for a zero.
template <class F>
void for_each_pixel(const Shape& small, const Shape& padded, const Pad2dParams& p, const F& f) {
  const int64_t H = small[-2], W = small[-1], PH = padded[-2], PW = padded[-1];
  const int64_t planes = padded.numel() / std::max<int64_t>(PH * PW, 1);
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t i = 0; i < PH; ++i) {
      for (int64_t j = 0; j < PW; ++j) {
        const int64_t h = source_index(i - p.top, H, p.mode), w = source_index(j - p.left, W, p.mode);
        f(h < 0 || w < 0 ? -1 : (plane * H + h) * W + w, (plane * PH + i) * PW + j);
      }
    }
  }
}

void pad2d_forward_naive(const Tensor& x, const Pad2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "pad2d", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_pixel(x.shape(), y.shape(), p, [&](int64_t i, int64_t j) { to[j] = i < 0 ? T(0) : from[i]; });
  });
}

// A pixel of dx is the sum over all places that read it.
void pad2d_backward_naive(const Tensor& dy, const Pad2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "pad2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    std::fill_n(to, dx.numel(), T(0));
    for_each_pixel(dx.shape(), dy.shape(), p, [&](int64_t i, int64_t j) {
      if (i >= 0) to[i] += grad[j];
    });
  });
}

}  // namespace

void register_pad() {
  kernels::pad2d_forward.add(Device::cpu, "naive", pad2d_forward_naive);
  kernels::pad2d_backward.add(Device::cpu, "naive", pad2d_backward_naive);
}

}  // namespace asap::cpu
