// Average and maximum pooling of the last two dimensions. The backward passes are gathers: a pixel of dx adds up the windows
// that cover it, in their order, so that no two threads write one element. Next: resize.cu.
#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

struct Sizes {
  int64_t H, W, OH, OW;
  Sizes(const Tensor& x, const Tensor& y) : H(x.size(2)), W(x.size(3)), OH(y.size(2)), OW(y.size(3)) {}
};

// [begin, end) of one axis.
struct Range {
  int64_t begin, end;
  __device__ int64_t size() const { return end - begin; }
};
// The part of window `o` that lies on 0..n-1.
__device__ __forceinline__ Range window_of(int64_t o, int64_t n, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t first = o * stride - padding;
  return {max(first, int64_t{0}), min(first + kernel, n)};
}
// The windows among 0..n_out-1 that cover position i.
__device__ __forceinline__ Range windows_on(int64_t i, int64_t n_out, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t beyond = i + padding - kernel;  // a window that starts here ends before i
  return {beyond < 0 ? 0 : beyond / stride + 1, min((i + padding) / stride + 1, n_out)};
}

// What an average divides by.
__device__ __forceinline__ int64_t divisor(const Range& rows, const Range& columns, const Pool2dParams& p) {
  return p.count_include_pad ? p.kernel.h * p.kernel.w : rows.size() * columns.size();
}

// NaN counts as the largest value.
template <class T>
__device__ __forceinline__ bool is_better(T value, T largest) {
  return value > largest || (value != value && largest == largest);
}

// ---- naive: the definition ------------------------------------------------------------------------------------------

// Calls f(plane, rows, columns) with the window of output position i.
template <class F>
__device__ __forceinline__ void with_window(int64_t i, const Sizes& s, const Pool2dParams& p, F&& f) {
  f(i / (s.OH * s.OW), window_of(i / s.OW % s.OH, s.H, p.kernel.h, p.stride.h, p.padding.h),
    window_of(i % s.OW, s.W, p.kernel.w, p.stride.w, p.padding.w));
}
// Calls f(output position, row, column) for the windows that cover pixel i of x.
template <class F>
__device__ __forceinline__ void for_each_window_on(int64_t i, const Sizes& s, const Pool2dParams& p, F&& f) {
  const int64_t plane = i / (s.H * s.W);
  const Range rows = windows_on(i / s.W % s.H, s.OH, p.kernel.h, p.stride.h, p.padding.h);
  const Range columns = windows_on(i % s.W, s.OW, p.kernel.w, p.stride.w, p.padding.w);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int64_t column = columns.begin; column < columns.end; ++column)
      f((plane * s.OH + row) * s.OW + column, row, column);
  }
}

template <class T>
__global__ void avg_pool2d_forward_kernel(const T* x, Pool2dParams p, Sizes s, int64_t count, T* y) {
  for_each_index(count, [=](int64_t i) {
    with_window(i, s, p, [&](int64_t plane, const Range& rows, const Range& columns) {
      T sum = 0;
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) sum += x[(plane * s.H + h) * s.W + w];
      }
      y[i] = sum / static_cast<T>(divisor(rows, columns, p));
    });
  });
}

template <class T>
__global__ void avg_pool2d_backward_kernel(const T* dy, Pool2dParams p, Sizes s, int64_t count, T* dx) {
  for_each_index(count, [=](int64_t i) {
    T sum = 0;
    for_each_window_on(i, s, p, [&](int64_t o, int64_t row, int64_t column) {
      const Range rows = window_of(row, s.H, p.kernel.h, p.stride.h, p.padding.h);
      const Range columns = window_of(column, s.W, p.kernel.w, p.stride.w, p.padding.w);
      sum += dy[o] / static_cast<T>(divisor(rows, columns, p));
    });
    dx[i] = sum;
  });
}

template <class T>
__global__ void max_pool2d_forward_kernel(const T* x, Pool2dParams p, Sizes s, int64_t count, T* y, int32_t* index) {
  for_each_index(count, [=](int64_t i) {
    with_window(i, s, p, [&](int64_t plane, const Range& rows, const Range& columns) {
      const T* from = x + plane * s.H * s.W;
      int64_t best = rows.begin * s.W + columns.begin;
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) {
          if (is_better(from[h * s.W + w], from[best])) best = h * s.W + w;
        }
      }
      y[i] = from[best];
      index[i] = static_cast<int32_t>(best);
    });
  });
}

template <class T>
__global__ void max_pool2d_backward_kernel(const T* dy, const int32_t* index, Pool2dParams p, Sizes s, int64_t count,
                                           T* dx) {
  for_each_index(count, [=](int64_t i) {
    T sum = 0;
    for_each_window_on(i, s, p, [&](int64_t o, int64_t, int64_t) {
      if (index[o] == i % (s.H * s.W)) sum += dy[o];
    });
    dx[i] = sum;
  });
}

void avg_pool2d_forward_naive(const Tensor& x, const Pool2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "avg_pool2d", [&](auto tag) {
    using T = decltype(tag);
    launch(avg_pool2d_forward_kernel<T>, {blocks_for(y.numel()), kBlock}, x.data<T>(), p, Sizes(x, y), y.numel(),
           y.data<T>());
  });
}

void avg_pool2d_backward_naive(const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "avg_pool2d_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(avg_pool2d_backward_kernel<T>, {blocks_for(dx.numel()), kBlock}, dy.data<T>(), p, Sizes(dx, dy), dx.numel(),
           dx.data<T>());
  });
}

void max_pool2d_forward_naive(const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor& index) {
  dispatch_floating(x.dtype(), "max_pool2d", [&](auto tag) {
    using T = decltype(tag);
    launch(max_pool2d_forward_kernel<T>, {blocks_for(y.numel()), kBlock}, x.data<T>(), p, Sizes(x, y), y.numel(),
           y.data<T>(), index.data<int32_t>());
  });
}

void max_pool2d_backward_naive(const Tensor& dy, const Tensor& index, const Pool2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "max_pool2d_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(max_pool2d_backward_kernel<T>, {blocks_for(dx.numel()), kBlock}, dy.data<T>(), index.data<int32_t>(), p,
           Sizes(dx, dy), dx.numel(), dx.data<T>());
  });
}

}  // namespace

void register_pool() {
  kernels::avg_pool2d_forward.add(Device::cuda, "naive", avg_pool2d_forward_naive);
  kernels::avg_pool2d_backward.add(Device::cuda, "naive", avg_pool2d_backward_naive);
  kernels::max_pool2d_forward.add(Device::cuda, "naive", max_pool2d_forward_naive);
  kernels::max_pool2d_backward.add(Device::cuda, "naive", max_pool2d_backward_naive);
}

}  // namespace asap::cuda
