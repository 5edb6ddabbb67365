// Padding of the last two dimensions. Both directions are gathers: a pixel of dx adds up the places that read it, so that no
// two threads write one element. A thread has 4 neighbouring elements, written as 16 bytes: one read and one write, 8 bytes
// an element. Rows of a padded picture start at any address, so that the reads are of 4 bytes; neighbouring threads share
// their lines. Next: pool.cu.
#include <cstdint>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"
#include "tensor/definitions/padded_index.h"

namespace asap::cuda {
namespace {

// Calls f(i) for the positions i of the padded axis that read position k of 0..n-1: its own place, then those of the border.
template <class F>
__device__ __forceinline__ void for_each_reader(int k, int n, int before, int after, PadMode mode, F&& f) {
  f(before + k);
  if (mode == PadMode::reflect) {
    if (k >= 1 && k <= before) f(before - k);
    if (k <= n - 2 && k >= n - 1 - after) f(before + 2 * (n - 1) - k);
  } else if (mode == PadMode::replicate) {
    for (int i = 0; k == 0 && i < before; ++i) f(i);
    for (int i = 0; k == n - 1 && i < after; ++i) f(before + n + i);
  }
}

// The four output elements of step i, whose rows have `width` elements: f(k, plane, row, column) for k = 0..3.
struct Quads {
  Divisor width, height;
  Quads(int64_t w, int64_t h) : width(w), height(h) {}
  template <class F>
  __device__ __forceinline__ void for_each(int i, F&& f) const {
    int r = static_cast<int>(width.quotient(4 * i)), column = 4 * i - r * static_cast<int>(width.value);
    int plane = static_cast<int>(height.quotient(r)), row = r - plane * static_cast<int>(height.value);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      f(k, plane, row, column);
      if (++column < static_cast<int>(width.value)) continue;
      column = 0;
      if (++row < static_cast<int>(height.value)) continue;
      row = 0;
      ++plane;
    }
  }
};

// 4 elements of y, of which the last step of a tensor may have fewer.
__device__ __forceinline__ void store_quad(const float (&v)[4], int i, int count, float* y) {
  if (4 * i + 4 <= count) {
    reinterpret_cast<float4*>(y)[i] = make_float4(v[0], v[1], v[2], v[3]);
    return;
  }
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    if (4 * i + k < count) y[4 * i + k] = v[k];
  }
}

// The padding and the sizes of the small planes (H x W) and the padded ones (PH x PW), in 32 bits.
struct Border {
  int left, right, top, bottom, H, W, PH, PW;
  Border(const Pad2dParams& p, const Tensor& small, const Tensor& padded)
      : left(static_cast<int>(p.left)),
        right(static_cast<int>(p.right)),
        top(static_cast<int>(p.top)),
        bottom(static_cast<int>(p.bottom)),
        H(static_cast<int>(small.size(2))),
        W(static_cast<int>(small.size(3))),
        PH(static_cast<int>(padded.size(2))),
        PW(static_cast<int>(padded.size(3))) {}
};

template <PadMode mode>
__global__ void __launch_bounds__(kBlock)
    pad2d_forward_quads_kernel(const float* x, Border b, Quads quads, int count, float* y) {
  for_each_index(ceil_div(count, 4), [=](int64_t i) {
    float v[4];
    quads.for_each(static_cast<int>(i), [&](int k, int plane, int row, int column) {
      const int h = padded_index(row - b.top, b.H, mode), w = padded_index(column - b.left, b.W, mode);
      const bool inside = h >= 0 && w >= 0 && 4 * static_cast<int>(i) + k < count;
      v[k] = inside ? x[(plane * b.H + h) * b.W + w] : 0.0f;
    });
    store_quad(v, static_cast<int>(i), count, y);
  });
}

// Whether position k has a reader beside its own place.
template <PadMode mode>
__device__ __forceinline__ bool is_read_again(int k, int n, int before, int after) {
  if (mode == PadMode::zero) return false;
  if (mode == PadMode::reflect) return (k >= 1 && k <= before) || (k <= n - 2 && k >= n - 1 - after);
  return k == 0 || k == n - 1;
}

template <PadMode mode>
__global__ void __launch_bounds__(kBlock)
    pad2d_backward_quads_kernel(const float* dy, Border b, Quads quads, int count, float* dx) {
  for_each_index(ceil_div(count, 4), [=](int64_t i) {
    float v[4];
    quads.for_each(static_cast<int>(i), [&](int k, int plane, int h, int w) {
      v[k] = 4 * static_cast<int>(i) + k < count ? dy[(plane * b.PH + h + b.top) * b.PW + w + b.left] : 0.0f;
    });
    quads.for_each(static_cast<int>(i), [&](int k, int plane, int h, int w) {
      const bool again = is_read_again<mode>(h, b.H, b.top, b.bottom) || is_read_again<mode>(w, b.W, b.left, b.right);
      if (!again || 4 * static_cast<int>(i) + k >= count) return;
      float sum = 0;
      for_each_reader(h, b.H, b.top, b.bottom, mode, [&](int row) {
        for_each_reader(w, b.W, b.left, b.right, mode,
                        [&](int column) { sum += dy[(plane * b.PH + row) * b.PW + column]; });
      });
      v[k] = sum;
    });
    store_quad(v, static_cast<int>(i), count, dx);
  });
}

// Calls f with the mode as a compile-time constant.
template <class F>
void with_mode(PadMode mode, F&& f) {
  switch (mode) {
    case PadMode::zero: return f(std::integral_constant<PadMode, PadMode::zero>{});
    case PadMode::reflect: return f(std::integral_constant<PadMode, PadMode::reflect>{});
    case PadMode::replicate: return f(std::integral_constant<PadMode, PadMode::replicate>{});
  }
  fail("pad2d: unknown mode ", static_cast<int>(mode));
}

// f32, and indices of 32 bits, the last step's included.
bool takes_quads(const Tensor& from, const Tensor& to) {
  constexpr int64_t kMost = INT32_MAX - 8;
  return to.dtype() == DType::f32 && from.numel() <= kMost && to.numel() <= kMost &&
         reinterpret_cast<uintptr_t>(to.raw()) % 16 == 0;
}

void pad2d_forward_vectorized(const Tensor& x, const Pad2dParams& p, Tensor& y) {
  const int count = static_cast<int>(y.numel());
  with_mode(p.mode, [&](auto mode) {
    launch(pad2d_forward_quads_kernel<mode()>, {blocks_for(count, 4), kBlock}, x.data<float>(), Border(p, x, y),
           Quads(y.size(3), y.size(2)), count, y.data<float>());
  });
}

void pad2d_backward_vectorized(const Tensor& dy, const Pad2dParams& p, Tensor& dx) {
  const int count = static_cast<int>(dx.numel());
  with_mode(p.mode, [&](auto mode) {
    launch(pad2d_backward_quads_kernel<mode()>, {blocks_for(count, 4), kBlock}, dy.data<float>(),
           Border(p, dx, dy), Quads(dx.size(3), dx.size(2)), count, dx.data<float>());
  });
}

}  // namespace

void register_pad() {
  const auto takes = [](const Tensor& from, const Pad2dParams&, Tensor& to) { return takes_quads(from, to); };
  kernels::pad2d_forward.add(Device::cuda, "vectorized", pad2d_forward_vectorized, takes);
  kernels::pad2d_backward.add(Device::cuda, "vectorized", pad2d_backward_vectorized, takes);
}

}  // namespace asap::cuda
