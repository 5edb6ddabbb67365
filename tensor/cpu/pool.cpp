// Average and maximum pooling of the last two dimensions, forward and backward. Next: resize.cpp.
#include <limits>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

// The part of window `o` that lies on 0..n-1: [begin, end).
struct Window {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
Window window_of(int64_t o, int64_t n, int64_t kernel, int64_t stride, int64_t padding) {
  const int64_t first = o * stride - padding;
  return {std::max<int64_t>(first, 0), std::min(first + kernel, n)};
}

// Calls f(output position, first pixel of its plane of x, rows, columns).
template <class F>
void for_each_window(const Shape& x, const Shape& y, const Pool2dParams& p, const F& f) {
  const int64_t H = x[-2], W = x[-1], OH = y[-2], OW = y[-1];
  const int64_t planes = y.numel() / std::max<int64_t>(OH * OW, 1);
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t i = 0; i < OH; ++i) {
      for (int64_t j = 0; j < OW; ++j) {
        f((plane * OH + i) * OW + j, plane * H * W, window_of(i, H, p.kernel.h, p.stride.h, p.padding.h),
          window_of(j, W, p.kernel.w, p.stride.w, p.padding.w));
      }
    }
  }
}

int64_t divisor(const Window& rows, const Window& columns, const Pool2dParams& p) {
  return p.count_include_pad ? p.kernel.h * p.kernel.w : rows.size() * columns.size();
}

void avg_pool2d_forward_naive(const Tensor& x, const Pool2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "avg_pool2d", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const int64_t W = x.size(-1);
    for_each_window(x.shape(), y.shape(), p, [&](int64_t o, int64_t plane, Window rows, Window columns) {
      T sum = 0;
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) sum += from[plane + h * W + w];
      }
      to[o] = sum / static_cast<T>(divisor(rows, columns, p));
    });
  });
}

void avg_pool2d_backward_naive(const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "avg_pool2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    const int64_t W = dx.size(-1);
    std::fill_n(to, dx.numel(), T(0));
    for_each_window(dx.shape(), dy.shape(), p, [&](int64_t o, int64_t plane, Window rows, Window columns) {
      const T share = grad[o] / static_cast<T>(divisor(rows, columns, p));
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) to[plane + h * W + w] += share;
      }
    });
  });
}

// NaN counts as the largest value.
void max_pool2d_forward_naive(const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor& index) {
  dispatch_floating(x.dtype(), "max_pool2d", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const int64_t W = x.size(-1);
    for_each_window(x.shape(), y.shape(), p, [&](int64_t o, int64_t plane, Window rows, Window columns) {
      int64_t best = rows.begin * W + columns.begin;
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) {
          const T value = from[plane + h * W + w], largest = from[plane + best];
          if (value > largest || (value != value && largest == largest)) best = h * W + w;
        }
      }
      to[o] = from[plane + best];
      index.data<int32_t>()[o] = static_cast<int32_t>(best);
    });
  });
}

void max_pool2d_backward_naive(const Tensor& dy, const Tensor& index, Tensor& dx) {
  dispatch_floating(dy.dtype(), "max_pool2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    const int64_t out_plane = dy.size(-2) * dy.size(-1), in_plane = dx.size(-2) * dx.size(-1);
    std::fill_n(to, dx.numel(), T(0));
    for (int64_t o = 0; o < dy.numel(); ++o) to[o / out_plane * in_plane + index.data<int32_t>()[o]] += grad[o];
  });
}

}  // namespace

void register_pool() {
  kernels::avg_pool2d_forward.add(Device::cpu, "naive", avg_pool2d_forward_naive);
  kernels::avg_pool2d_backward.add(Device::cpu, "naive", avg_pool2d_backward_naive);
  kernels::max_pool2d_forward.add(Device::cpu, "naive", max_pool2d_forward_naive);
  kernels::max_pool2d_backward.add(Device::cpu, "naive", max_pool2d_backward_naive);
}

}  // namespace asap::cpu
