// Average and maximum pooling of the last two dimensions, forward and backward: an average is a sum over rows, then a sum
// over columns. Next: resize.cpp.
#include <vector>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/pool.h"

namespace asap::cpu {
namespace {

using definitions::is_better, definitions::Range, definitions::window_of;

// Calls f(plane, row, buffer) for every row of every plane, spread over the threads; each thread has a zeroed buffer.
template <class T, class F>
void parallel_rows(int64_t planes, int64_t rows, int64_t width, int64_t buffer_size, const F& f) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(width, 1), 1);
  parallel_for(planes * rows, grain, [&](int64_t begin, int64_t end) {
    std::vector<T> buffer(static_cast<size_t>(buffer_size));
    for (int64_t k = begin; k < end; ++k) f(k / rows, k % rows, buffer.data());
  });
}

// Calls f(kernel, stride), as compile-time constants where they are one of the common pairs.
template <class F>
void with_window(int64_t kernel, int64_t stride, const F& f) {
  using std::integral_constant;
  if (kernel == 3 && stride == 2) return f(integral_constant<int64_t, 3>{}, integral_constant<int64_t, 2>{});
  if (kernel == 2 && stride == 2) return f(integral_constant<int64_t, 2>{}, integral_constant<int64_t, 2>{});
  f(kernel, stride);
}

// How many rows or columns a window averages: those inside 0..n-1, or all of its own with count_include_pad.
int64_t window_count(int64_t o, int64_t n, int64_t kernel, int64_t stride, int64_t padding, bool count_include_pad) {
  return count_include_pad ? kernel : window_of(o, n, kernel, stride, padding).size();
}
int64_t row_count(int64_t o, int64_t H, const Pool2dParams& p) {
  return window_count(o, H, p.kernel.h, p.stride.h, p.padding.h, p.count_include_pad);
}
template <class T>
std::vector<T> column_counts(int64_t W, int64_t OW, const Pool2dParams& p) {
  std::vector<T> counts;
  for (int64_t j = 0; j < OW; ++j) {
    counts.push_back(static_cast<T>(window_count(j, W, p.kernel.w, p.stride.w, p.padding.w, p.count_include_pad)));
  }
  return counts;
}

template <class T>
void add_row(const T* x, int64_t n, T* sums) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) sums[i] += x[i];
}

// y[j] = sum of window j of the padded row, divided by rows * columns[j].
template <class T>
void average_columns(const T* padded, const Pool2dParams& p, T rows, const T* columns, int64_t OW, T* y) {
  with_window(p.kernel.w, p.stride.w, [=](auto kernel, auto stride) {
#pragma GCC ivdep
    for (int64_t j = 0; j < OW; ++j) {
      T sum = 0;
      for (int64_t k = 0; k < kernel; ++k) sum += padded[j * stride + k];
      y[j] = sum / (rows * columns[j]);
    }
  });
}

void avg_pool2d_forward_rows(const Tensor& x, const Pool2dParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "avg_pool2d", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = x.size(2), W = x.size(3), OH = y.size(2), OW = y.size(3);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const std::vector<T> columns = column_counts<T>(W, OW, p);
    // The buffer is a row of sums between two paddings that stay zero.
    const int64_t padded_size = W + 2 * p.padding.w;
    parallel_rows<T>(x.size(0) * x.size(1), OH, p.kernel.h * W, padded_size, [&](int64_t plane, int64_t i, T* padded) {
      const Range rows = window_of(i, H, p.kernel.h, p.stride.h, p.padding.h);
      T* sums = padded + p.padding.w;
      std::copy_n(from + (plane * H + rows.begin) * W, W, sums);
      for (int64_t h = rows.begin + 1; h < rows.end; ++h) add_row(from + (plane * H + h) * W, W, sums);
      average_columns(padded, p, static_cast<T>(row_count(i, H, p)), columns.data(), OW, to + (plane * OH + i) * OW);
    });
  });
}

// shares[j] = what row h of dx gets from output column j: the sum over the output rows whose windows cover h.
template <class T>
void covering_shares(const T* dy, int64_t h, int64_t H, int64_t OH, int64_t OW, const Pool2dParams& p, const T* columns,
                     T* shares) {
  std::fill_n(shares, OW, T(0));
  const int64_t last = std::min((h + p.padding.h) / p.stride.h, OH - 1);
  for (int64_t i = last; i >= 0 && i * p.stride.h - p.padding.h + p.kernel.h > h; --i) {
    const T rows = static_cast<T>(row_count(i, H, p));
    const T* row = dy + i * OW;
#pragma GCC ivdep
    for (int64_t j = 0; j < OW; ++j) shares[j] += row[j] / (rows * columns[j]);
  }
}

// Position j*stride + f of the padded row is covered by windows j, j-1, .., j-m as long as f + m*stride < kernel.
// For stride 2 the sum share[0] + share[-1] + .. is unrolled, so that even and odd positions become one vector loop.
template <int64_t kernel, int64_t f, class T>
T covering_sum(const T* share) {
  if constexpr (f >= kernel) {
    return 0;
  } else {
    return *share + covering_sum<kernel, f + 2>(share - 1);
  }
}
template <int64_t kernel, class T>
void spread_columns_stride2(const T* shares, int64_t steps, T* padded) {
#pragma GCC ivdep
  for (int64_t j = 0; j < steps; ++j) {
    padded[2 * j] = covering_sum<kernel, 0>(shares + j);
    padded[2 * j + 1] = covering_sum<kernel, 1>(shares + j);
  }
}

template <class T>
void spread_columns(const T* shares, const Pool2dParams& p, int64_t steps, T* padded) {
  const int64_t K = p.kernel.w, S = p.stride.w;
  if (K == 3 && S == 2) return spread_columns_stride2<3>(shares, steps, padded);
  if (K == 2 && S == 2) return spread_columns_stride2<2>(shares, steps, padded);
  for (int64_t j = 0; j < steps; ++j) {
    for (int64_t f = 0; f < S; ++f) {
      T sum = 0;
      for (int64_t m = 0; f + m * S < K; ++m) sum += shares[j - m];
      padded[j * S + f] = sum;
    }
  }
}

void avg_pool2d_backward_rows(const Tensor& dy, const Pool2dParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "avg_pool2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = dx.size(2), W = dx.size(3), OH = dy.size(2), OW = dy.size(3);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    const std::vector<T> columns = column_counts<T>(W, OW, p);
    // Buffer: zeros before the first share, the shares, zeros up to the last step; then the padded row.
    const int64_t before = (p.kernel.w - 1) / p.stride.w, steps = (W + p.padding.w + p.stride.w - 1) / p.stride.w;
    const int64_t shares_size = before + std::max(steps, OW), buffer_size = shares_size + steps * p.stride.w;
    parallel_rows<T>(dx.size(0) * dx.size(1), H, p.kernel.h * W, buffer_size, [&](int64_t plane, int64_t h, T* buffer) {
      T *shares = buffer + before, *padded = buffer + shares_size;
      covering_shares(grad + plane * OH * OW, h, H, OH, OW, p, columns.data(), shares);
      spread_columns(shares, p, steps, padded);
      std::copy_n(padded + p.padding.w, W, to + (plane * H + h) * W);
    });
  });
}

// One row of windows; 2x2 windows that neither overlap nor leave the picture become a loop without branches.
template <class T>
void max_pool_row(const T* x, int64_t H, int64_t W, const Pool2dParams& p, int64_t i, int64_t OW, T* y,
                  int32_t* index) {
  if (p.kernel == Size2(2) && p.stride == Size2(2) && p.padding == Size2(0)) {
    const int32_t first = static_cast<int32_t>(2 * i * W), below = static_cast<int32_t>(W);
    const T *top = x + first, *bottom = top + W;
#pragma GCC ivdep
    for (int32_t j = 0; j < static_cast<int32_t>(OW); ++j) {
      const T a = top[2 * j], b = top[2 * j + 1], c = bottom[2 * j], d = bottom[2 * j + 1];
      const bool right = is_better(b, a), right_below = is_better(d, c);
      const T upper = right ? b : a, lower = right_below ? d : c;
      const bool down = is_better(lower, upper);
      y[j] = down ? lower : upper;
      index[j] = first + 2 * j + (down ? below + (right_below ? 1 : 0) : (right ? 1 : 0));
    }
    return;
  }
  const Range rows = window_of(i, H, p.kernel.h, p.stride.h, p.padding.h);
  for (int64_t j = 0; j < OW; ++j) {
    const Range columns = window_of(j, W, p.kernel.w, p.stride.w, p.padding.w);
    int64_t best = rows.begin * W + columns.begin;
    for (int64_t h = rows.begin; h < rows.end; ++h) {
      for (int64_t w = columns.begin; w < columns.end; ++w) {
        if (is_better(x[h * W + w], x[best])) best = h * W + w;
      }
    }
    y[j] = x[best];
    index[j] = static_cast<int32_t>(best);
  }
}

void max_pool2d_forward_rows(const Tensor& x, const Pool2dParams& p, Tensor& y, Tensor& index) {
  dispatch_floating(x.dtype(), "max_pool2d", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = x.size(2), W = x.size(3), OH = y.size(2), OW = y.size(3);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    int32_t* at = index.data<int32_t>();
    parallel_rows<T>(x.size(0) * x.size(1), OH, p.kernel.h * W, 0, [&](int64_t plane, int64_t i, T*) {
      const int64_t row = (plane * OH + i) * OW;
      max_pool_row(from + plane * H * W, H, W, p, i, OW, to + row, at + row);
    });
  });
}

void max_pool2d_backward_planes(const Tensor& dy, const Tensor& index, const Pool2dParams&, Tensor& dx) {
  dispatch_floating(dy.dtype(), "max_pool2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const T* grad = dy.data<T>();
    const int32_t* at = index.data<int32_t>();
    T* to = dx.data<T>();
    const int64_t out_plane = dy.size(2) * dy.size(3), in_plane = dx.size(2) * dx.size(3);
    parallel_for(dx.size(0) * dx.size(1), std::max<int64_t>(kGrain / std::max<int64_t>(in_plane, 1), 1),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t plane = begin; plane < end; ++plane) {
                     std::fill_n(to + plane * in_plane, in_plane, T(0));
                     for (int64_t o = plane * out_plane; o < (plane + 1) * out_plane; ++o)
                       to[plane * in_plane + at[o]] += grad[o];
                   }
                 });
  });
}

}  // namespace

void register_pool() {
  kernels::avg_pool2d_forward.add(Device::cpu, "rows", avg_pool2d_forward_rows);
  kernels::avg_pool2d_backward.add(Device::cpu, "rows", avg_pool2d_backward_rows);
  kernels::max_pool2d_forward.add(Device::cpu, "rows", max_pool2d_forward_rows);
  kernels::max_pool2d_backward.add(Device::cpu, "planes", max_pool2d_backward_planes);
}

}  // namespace asap::cpu
