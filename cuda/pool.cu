// Average and maximum pooling of the last two dimensions: the definitions in f32, with 32-bit indices. A thread has an element of
// y, or one of dx, which adds up the windows that cover it in their order, so that no two threads write one element. Neighbours'
// windows share cache lines. Next: tile_mlp.cu.
#include <cstdint>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"
#include "tensor/definitions/pool.h"

namespace asap::cuda {
namespace {

using definitions::is_better, definitions::window_of, definitions::windows_on;

// Along one axis: pixels 0..pixels-1 and the windows 0..windows-1 on them.
struct Axis {
  int pixels, windows, kernel, stride, padding;
  Axis(int64_t n, int64_t o, int64_t k, int64_t s, int64_t p)
      : pixels(static_cast<int>(n)),
        windows(static_cast<int>(o)),
        kernel(static_cast<int>(k)),
        stride(static_cast<int>(s)),
        padding(static_cast<int>(p)) {}
  __device__ __forceinline__ auto window(int o) const { return window_of(o, pixels, kernel, stride, padding); }
  __device__ __forceinline__ auto covering(int i) const { return windows_on(i, windows, kernel, stride, padding); }
};

// Planes of H x W pixels (x, dx) and of their windows (y, dy).
struct Planes {
  Axis h, w;
  bool count_include_pad;
  Planes(const Tensor& x, const Tensor& y, const Pool2dParams& p)
      : h(x.size(2), y.size(2), p.kernel.h, p.stride.h, p.padding.h),
        w(x.size(3), y.size(3), p.kernel.w, p.stride.w, p.padding.w),
        count_include_pad(p.count_include_pad) {}
  __device__ __forceinline__ int pixel(int plane, int row, int column) const {
    return (plane * h.pixels + row) * w.pixels + column;
  }
  __device__ __forceinline__ int output(int plane, int row, int column) const {
    return (plane * h.windows + row) * w.windows + column;
  }
  // What an average divides by.
  __device__ __forceinline__ float divisor(int i, int j) const {
    return static_cast<float>(count_include_pad ? h.kernel * w.kernel : h.window(i).size() * w.window(j).size());
  }
};

// f(k, plane, row, column) for each element k of [planes, height, width].
template <class F>
__global__ void __launch_bounds__(kBlock) each_kernel(int count, Divisor height, Divisor width, F f) {
  for_each_index(count, [&](int64_t i) {
    const unsigned k = static_cast<unsigned>(i), rows = width.quotient(k), plane = height.quotient(rows);
    f(static_cast<int>(k), static_cast<int>(plane), static_cast<int>(rows - plane * height.value),
      static_cast<int>(k - rows * width.value));
  });
}
template <class F>
void each(const Tensor& y, const F& f) {
  launch(each_kernel<F>, {blocks_for(y.numel()), kBlock}, static_cast<int>(y.numel()), Divisor(y.size(2)),
         Divisor(y.size(3)), f);
}

void avg_pool2d_forward(const Tensor& x, const Pool2dParams& p, Tensor& y) {
  const Planes planes(x, y, p);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  each(y, [=] __device__(int k, int plane, int i, int j) {
    const auto rows = planes.h.window(i), columns = planes.w.window(j);
    float sum = 0;
    for (int h = rows.begin; h < rows.end; ++h) {
      for (int w = columns.begin; w < columns.end; ++w) sum += from[planes.pixel(plane, h, w)];
    }
    to[k] = sum / planes.divisor(i, j);
  });
}

void avg_pool2d_backward(const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
  const Planes planes(dx, dy, p);
  const float* from = dy.data<float>();
  float* to = dx.data<float>();
  each(dx, [=] __device__(int k, int plane, int h, int w) {
    const auto rows = planes.h.covering(h), columns = planes.w.covering(w);
    float sum = 0;
    for (int i = rows.begin; i < rows.end; ++i) {
      for (int j = columns.begin; j < columns.end; ++j) sum += from[planes.output(plane, i, j)] / planes.divisor(i, j);
    }
    to[k] = sum;
  });
}

void max_pool2d_forward(const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor& index) {
  const Planes planes(x, y, p);
  const float* from = x.data<float>();
  float* to = y.data<float>();
  int32_t* at = index.data<int32_t>();
  each(y, [=] __device__(int k, int plane, int i, int j) {
    const auto rows = planes.h.window(i), columns = planes.w.window(j);
    int best = planes.pixel(0, rows.begin, columns.begin);
    float largest = from[planes.pixel(plane, rows.begin, columns.begin)];
    for (int h = rows.begin; h < rows.end; ++h) {
      for (int w = columns.begin; w < columns.end; ++w) {
        const float value = from[planes.pixel(plane, h, w)];
        if (is_better(value, largest)) largest = value, best = planes.pixel(0, h, w);
      }
    }
    to[k] = largest;
    at[k] = best;
  });
}

void max_pool2d_backward(const Tensor& dy, const Tensor& index, const Pool2dParams& p, Tensor& dx) {
  const Planes planes(dx, dy, p);
  const float* from = dy.data<float>();
  const int32_t* at = index.data<int32_t>();
  float* to = dx.data<float>();
  each(dx, [=] __device__(int k, int plane, int h, int w) {
    const auto rows = planes.h.covering(h), columns = planes.w.covering(w);
    float sum = 0;
    for (int i = rows.begin; i < rows.end; ++i) {
      for (int j = columns.begin; j < columns.end; ++j) {
        const int o = planes.output(plane, i, j);
        if (at[o] == planes.pixel(0, h, w)) sum += from[o];
      }
    }
    to[k] = sum;
  });
}

bool takes(const Tensor& x, const Tensor& y, const Pool2dParams& p) {
  constexpr int64_t kMost = INT32_MAX;
  return x.dtype() == DType::f32 && x.numel() <= kMost && y.numel() <= kMost && x.size(2) + 2 * p.padding.h <= kMost &&
         x.size(3) + 2 * p.padding.w <= kMost;
}

}  // namespace

void register_pool() {
  kernels::avg_pool2d_forward.add(Device::cuda, "index32", avg_pool2d_forward,
                                  [](const Tensor& x, const Pool2dParams& p, Tensor& y) { return takes(x, y, p); });
  kernels::avg_pool2d_backward.add(
      Device::cuda, "index32", avg_pool2d_backward,
      [](const Tensor& dy, const Pool2dParams& p, Tensor& dx) { return takes(dx, dy, p); });
  kernels::max_pool2d_forward.add(
      Device::cuda, "index32", max_pool2d_forward,
      [](const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor&) { return takes(x, y, p); });
  kernels::max_pool2d_backward.add(
      Device::cuda, "index32", max_pool2d_backward,
      [](const Tensor& dy, const Tensor&, const Pool2dParams& p, Tensor& dx) { return takes(dx, dy, p); });
}

}  // namespace asap::cuda
