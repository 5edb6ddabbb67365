// Average and maximum pooling of the last two dimensions and their gradients. Contract: kernels.h. Next: resize.h.
#pragma once

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// [begin, end) of one axis. Int: int64_t, or int where a card counts with it.
template <class Int>
struct Range {
  Int begin, end;
  ASAP_HOST_DEVICE Int size() const { return end - begin; }
};
// The part of window `o` that lies on 0..n-1.
template <class Int>
ASAP_HOST_DEVICE Range<Int> window_of(Int o, Int n, Int kernel, Int stride, Int padding) {
  const Int first = o * stride - padding, behind = first + kernel;
  return {first < 0 ? 0 : first, behind > n ? n : behind};
}
// The windows among 0..count-1 that cover position i.
template <class Int>
ASAP_HOST_DEVICE Range<Int> windows_on(Int i, Int count, Int kernel, Int stride, Int padding) {
  const Int last = (i + padding) / stride, beyond = i + padding - kernel;  // a window that starts there ends before i
  return {beyond < 0 ? 0 : beyond / stride + 1, last < count ? last + 1 : count};
}

// What an average divides by.
ASAP_HOST_DEVICE inline double divisor(const Range<int64_t>& rows, const Range<int64_t>& columns, const Pool2dParams& p) {
  return static_cast<double>(p.count_include_pad ? p.kernel.h * p.kernel.w : rows.size() * columns.size());
}
struct AvgPool2dForward {
  View x;
  Pool2dParams p;

  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    const auto rows = window_of(y[2], x.size(2), p.kernel.h, p.stride.h, p.padding.h);
    const auto columns = window_of(y[3], x.size(3), p.kernel.w, p.stride.w, p.padding.w);
    double sum = 0;
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) sum += x(y[0], y[1], h, w);
    }
    return sum / divisor(rows, columns, p);
  }
};

// dx's element gets its share of every window that covers it.
struct AvgPool2dBackward {
  View dy;
  Pool2dParams p;
  int64_t H, W;

  ASAP_HOST_DEVICE double operator()(const Position& dx) const {
    const auto rows = windows_on(dx[2], dy.size(2), p.kernel.h, p.stride.h, p.padding.h);
    const auto columns = windows_on(dx[3], dy.size(3), p.kernel.w, p.stride.w, p.padding.w);
    double sum = 0;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = columns.begin; j < columns.end; ++j) {
        sum += dy(dx[0], dx[1], i, j) / divisor(window_of(i, H, p.kernel.h, p.stride.h, p.padding.h),
                                                window_of(j, W, p.kernel.w, p.stride.w, p.padding.w), p);
      }
    }
    return sum;
  }
};

// Number `line` of y and of index.
struct MaxPool2dForward {
  View x;
  Pool2dParams p;
  View y, index;

  ASAP_HOST_DEVICE void operator()(int64_t line) const {
    const Position at = y.position(line);
    const auto rows = window_of(at[2], x.size(2), p.kernel.h, p.stride.h, p.padding.h);
    const auto columns = window_of(at[3], x.size(3), p.kernel.w, p.stride.w, p.padding.w);
    int64_t best_h = rows.begin, best_w = columns.begin;
    double largest = x(at[0], at[1], best_h, best_w);
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        const double value = x(at[0], at[1], h, w);
        if (is_better(value, largest)) largest = value, best_h = h, best_w = w;
      }
    }
    y.set(at, largest);
    index.set(at, static_cast<double>(best_h * x.size(3) + best_w));
  }
};

// dx's element gets the gradient of every window that chose it.
struct MaxPool2dBackward {
  View dy, index;
  Pool2dParams p;
  int64_t W;

  ASAP_HOST_DEVICE double operator()(const Position& dx) const {
    const auto rows = windows_on(dx[2], dy.size(2), p.kernel.h, p.stride.h, p.padding.h);
    const auto columns = windows_on(dx[3], dy.size(3), p.kernel.w, p.stride.w, p.padding.w);
    const double chosen = static_cast<double>(dx[2] * W + dx[3]);
    double sum = 0;
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = columns.begin; j < columns.end; ++j) {
        if (index(dx[0], dx[1], i, j) == chosen) sum += dy(dx[0], dx[1], i, j);
      }
    }
    return sum;
  }
};

template <class Run>
void add_pool(Device device) {
  kernels::avg_pool2d_forward.add_definition(device, [](const Tensor& x, const Pool2dParams& p, Tensor& y) {
    Run::each(y, AvgPool2dForward{x, p});
  });
  kernels::avg_pool2d_backward.add_definition(device, [](const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
    Run::each(dx, AvgPool2dBackward{dy, p, dx.size(2), dx.size(3)});
  });
  kernels::max_pool2d_forward.add_definition(device,
                                             [](const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor& index) {
                                               Run::lines(y.numel(), MaxPool2dForward{x, p, y, index});
                                             });
  kernels::max_pool2d_backward.add_definition(
      device, [](const Tensor& dy, const Tensor& index, const Pool2dParams& p, Tensor& dx) {
        Run::each(dx, MaxPool2dBackward{dy, index, p, dx.size(3)});
      });
}

}  // namespace asap::definitions
