// Average and maximum pooling of the last two dimensions. The backward passes are gathers: a pixel of dx adds up the windows
// that cover it, in their order, so that no two threads write one element. Here are the model's two poolings, on rows of a
// multiple of 8 pixels: a thread works on 8 neighbouring columns of x and 4 of y, all 16 bytes at a time. Next: resize.cu.
#include <cstdint>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"
#include "tensor/definitions/pool.h"

namespace asap::cuda {
namespace {

// Step i of [planes][rows][W / 8]: where a thread works.
struct Steps {
  Divisor columns, rows;
  int planes, H, W, OH, OW;
  Steps(const Tensor& x, const Tensor& y, int64_t row_steps)
      : columns(x.size(3) / 8),
        rows(row_steps),
        planes(static_cast<int>(x.size(0) * x.size(1))),
        H(static_cast<int>(x.size(2))),
        W(static_cast<int>(x.size(3))),
        OH(static_cast<int>(y.size(2))),
        OW(static_cast<int>(y.size(3))) {}
  __host__ __device__ int count() const { return planes * static_cast<int>(rows.value * columns.value); }
  // f(plane, row step, column / 8)
  template <class F>
  __device__ __forceinline__ void for_each(F&& f) const {
    for_each_index(count(), [&](int64_t i) {
      const unsigned r = columns.quotient(static_cast<unsigned>(i)), plane = rows.quotient(r);
      f(static_cast<int>(plane), static_cast<int>(r - plane * rows.value),
        static_cast<int>(static_cast<unsigned>(i) - r * columns.value));
    });
  }
};
template <class T>
__device__ __forceinline__ float4 load4(const T* x) {
  return *reinterpret_cast<const float4*>(x);
}
__device__ __forceinline__ void store4(float a, float b, float c, float d, float* y) {
  *reinterpret_cast<float4*>(y) = make_float4(a, b, c, d);
}

// What the averages of output row i divide by, apart from the first column, whose windows lack one.
__device__ __forceinline__ float rows_in_window(int i, int H) {
  return static_cast<float>(1 + (i > 0) + (2 * i + 1 < H));
}
__device__ __forceinline__ float4 divisors(int i, int H, int q, bool count_include_pad) {
  const float rows = rows_in_window(i, H), all = count_include_pad ? 9.0f : 3 * rows;
  return make_float4(q == 0 && !count_include_pad ? 2 * rows : all, all, all, all);
}

constexpr int kRowsEach = 2;  // output rows of a thread: they share one of their five input rows

// x is read once, and a quarter of it again from the cache; y written: 5 bytes an element of x.
__global__ void __launch_bounds__(kBlock)
    avg_pool2d_3x3_s2_kernel(const float* x, Steps steps, bool count_include_pad, float* y) {
  steps.for_each([=](int plane, int step, int q) {
    const float* from = x + (plane * steps.H) * steps.W + 8 * q;
    float* to = y + plane * steps.OH * steps.OW + 4 * q;
    float row[2 * kRowsEach + 1][4];  // sums of three columns
#pragma unroll
    for (int k = 0; k <= 2 * kRowsEach; ++k) {
      const int h = 2 * kRowsEach * step - 1 + k;
      const bool inside = h >= 0 && h < steps.H;
      const float* in = from + h * steps.W;
      const float left = inside && q > 0 ? in[-1] : 0;
      const float4 a = inside ? load4(in) : make_float4(0, 0, 0, 0),
                   b = inside ? load4(in + 4) : make_float4(0, 0, 0, 0);
      row[k][0] = left + a.x + a.y;
      row[k][1] = a.y + a.z + a.w;
      row[k][2] = a.w + b.x + b.y;
      row[k][3] = b.y + b.z + b.w;
    }
#pragma unroll
    for (int k = 0; k < kRowsEach; ++k) {
      const int i = kRowsEach * step + k;
      if (i >= steps.OH) continue;
      const auto sum = [&](int c) { return row[2 * k][c] + row[2 * k + 1][c] + row[2 * k + 2][c]; };
      const float4 d = divisors(i, steps.H, q, count_include_pad);
      store4(sum(0) / d.x, sum(1) / d.y, sum(2) / d.z, sum(3) / d.w, to + i * steps.OW);
    }
  });
}

// Shares of the outputs 4q .. 4q+4 of row i; those outside of the picture are 0.
__device__ __forceinline__ void load_shares(const float* dy, int i, int q, const Steps& steps, bool count_include_pad,
                                            float (&share)[5]) {
  const bool inside = i < steps.OH;
  const float* in = dy + i * steps.OW + 4 * q;
  const float4 v = inside ? load4(in) : make_float4(0, 0, 0, 0), d = divisors(i, steps.H, q, count_include_pad);
  const float next = inside && 4 * q + 4 < steps.OW ? in[4] : 0;
  share[0] = v.x / d.x, share[1] = v.y / d.y, share[2] = v.z / d.z, share[3] = v.w / d.w, share[4] = next / d.w;
}
// An even column is covered by one window of a row, an odd one by two.
__device__ __forceinline__ void store_spread(const float (&share)[5], float* dx) {
  store4(share[0], share[0] + share[1], share[1], share[1] + share[2], dx);
  store4(share[2], share[2] + share[3], share[3], share[3] + share[4], dx + 4);
}

// Rows 2i and 2i+1 of dx from rows i and i+1 of dy: 4 bytes an element of dx written, 1 read, and 1 again from the cache.
__global__ void __launch_bounds__(kBlock)
    avg_pool2d_3x3_s2_backward_kernel(const float* dy, Steps steps, bool count_include_pad, float* dx) {
  steps.for_each([=](int plane, int i, int q) {
    const float* from = dy + plane * steps.OH * steps.OW;
    float* to = dx + (plane * steps.H + 2 * i) * steps.W + 8 * q;
    float share[5], below[5];
    load_shares(from, i, q, steps, count_include_pad, share);
    load_shares(from, i + 1, q, steps, count_include_pad, below);
    store_spread(share, to);
    if (2 * i + 1 >= steps.H) return;
#pragma unroll
    for (int k = 0; k < 5; ++k) share[k] += below[k];
    store_spread(share, to + steps.W);
  });
}

// The largest of a 2x2 window whose upper left pixel is number `first` of its plane; the first of them on ties.
__device__ __forceinline__ void max_of_window(float a, float b, float c, float d, int first, int W, float& value,
                                              int& index) {
  value = a, index = first;
  const auto challenge = [&](float v, int at) {
    if (definitions::is_better(v, value)) value = v, index = at;
  };
  challenge(b, first + 1);
  challenge(c, first + W);
  challenge(d, first + W + 1);
}

// x read, y and index written, 6 bytes an element of x.
__global__ void __launch_bounds__(kBlock)
    max_pool2d_2x2_s2_kernel(const float* x, Steps steps, float* y, int32_t* index) {
  steps.for_each([=](int plane, int i, int q) {
    const int first = 2 * i * steps.W + 8 * q;
    const float* in = x + plane * steps.H * steps.W + first;
    const float4 a = load4(in), b = load4(in + 4), c = load4(in + steps.W), d = load4(in + steps.W + 4);
    float4 v;
    int4 at;
    max_of_window(a.x, a.y, c.x, c.y, first, steps.W, v.x, at.x);
    max_of_window(a.z, a.w, c.z, c.w, first + 2, steps.W, v.y, at.y);
    max_of_window(b.x, b.y, d.x, d.y, first + 4, steps.W, v.z, at.z);
    max_of_window(b.z, b.w, d.z, d.w, first + 6, steps.W, v.w, at.w);
    const int o = (plane * steps.OH + i) * steps.OW + 4 * q;
    *reinterpret_cast<float4*>(y + o) = v;
    *reinterpret_cast<int4*>(index + o) = at;
  });
}

// dx written, dy and index read, 6 bytes an element of dx; each window owns its four pixels.
__global__ void __launch_bounds__(kBlock)
    max_pool2d_2x2_s2_backward_kernel(const float* dy, const int32_t* index, Steps steps, float* dx) {
  steps.for_each([=](int plane, int i, int q) {
    const int o = (plane * steps.OH + i) * steps.OW + 4 * q;
    const float4 v = load4(dy + o);
    const int4 at = *reinterpret_cast<const int4*>(index + o);
    const int first = 2 * i * steps.W + 8 * q;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      const int position = first + row * steps.W;
      const auto share = [&](float grad, int chosen, int offset) { return chosen == position + offset ? grad : 0.0f; };
      float* out = dx + plane * steps.H * steps.W + position;
      store4(share(v.x, at.x, 0), share(v.x, at.x, 1), share(v.y, at.y, 2), share(v.y, at.y, 3), out);
      store4(share(v.z, at.z, 4), share(v.z, at.z, 5), share(v.w, at.w, 6), share(v.w, at.w, 7), out + 4);
    }
  });
}

bool is_aligned(const Tensor& x) { return reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0; }
// What all of them need of x (or dx) and y (or dy).
bool takes_steps(const Tensor& x, const Tensor& y) {
  return x.dtype() == DType::f32 && x.size(3) % 8 == 0 && x.numel() <= INT32_MAX && is_aligned(x) && is_aligned(y);
}
bool is_3x3_s2(const Pool2dParams& p) { return p.kernel == Size2(3) && p.stride == Size2(2) && p.padding == Size2(1); }
bool is_2x2_s2(const Pool2dParams& p) { return p.kernel == Size2(2) && p.stride == Size2(2) && p.padding == Size2(0); }

void avg_pool2d_forward_3x3_s2(const Tensor& x, const Pool2dParams& p, Tensor& y) {
  const Steps steps(x, y, ceil_div(y.size(2), kRowsEach));
  launch(avg_pool2d_3x3_s2_kernel, {blocks_for(steps.count()), kBlock}, x.data<float>(), steps, p.count_include_pad,
         y.data<float>());
}
void avg_pool2d_backward_3x3_s2(const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
  const Steps steps(dx, dy, dy.size(2));
  launch(avg_pool2d_3x3_s2_backward_kernel, {blocks_for(steps.count()), kBlock}, dy.data<float>(), steps,
         p.count_include_pad, dx.data<float>());
}
void max_pool2d_forward_2x2_s2(const Tensor& x, const Pool2dParams&, Tensor& y, Tensor& index) {
  const Steps steps(x, y, y.size(2));
  launch(max_pool2d_2x2_s2_kernel, {blocks_for(steps.count()), kBlock}, x.data<float>(), steps, y.data<float>(),
         index.data<int32_t>());
}
void max_pool2d_backward_2x2_s2(const Tensor& dy, const Tensor& index, const Pool2dParams&, Tensor& dx) {
  const Steps steps(dx, dy, dy.size(2));
  launch(max_pool2d_2x2_s2_backward_kernel, {blocks_for(steps.count()), kBlock}, dy.data<float>(),
         index.data<int32_t>(), steps, dx.data<float>());
}

}  // namespace

void register_pool() {
  kernels::avg_pool2d_forward.add(
      Device::cuda, "3x3_s2", avg_pool2d_forward_3x3_s2,
      [](const Tensor& x, const Pool2dParams& p, Tensor& y) { return is_3x3_s2(p) && takes_steps(x, y); });
  kernels::avg_pool2d_backward.add(
      Device::cuda, "3x3_s2", avg_pool2d_backward_3x3_s2,
      [](const Tensor& dy, const Pool2dParams& p, Tensor& dx) { return is_3x3_s2(p) && takes_steps(dx, dy); });
  kernels::max_pool2d_forward.add(Device::cuda, "2x2_s2", max_pool2d_forward_2x2_s2,
                                  [](const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor& index) {
                                    return is_2x2_s2(p) && takes_steps(x, y) && is_aligned(index);
                                  });
  // No row of dx may lie outside of all windows.
  kernels::max_pool2d_backward.add(Device::cuda, "2x2_s2", max_pool2d_backward_2x2_s2,
                                   [](const Tensor& dy, const Tensor& index, const Pool2dParams& p, Tensor& dx) {
                                     return is_2x2_s2(p) && dx.size(2) % 2 == 0 && takes_steps(dx, dy) &&
                                            is_aligned(index);
                                   });
}

}  // namespace asap::cuda
