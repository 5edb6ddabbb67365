// fill and copy of any strides and dtypes: runs where memory is contiguous, square tiles where it is transposed.
// Next: elementwise.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/copy.cpp"
#include "tensor/cpu/targets.h"

#include <cstring>
#include <type_traits>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

void fill_blocked(double value, Tensor& y) {
  const auto loop = merged_loop<1>({&y});
  dispatch_all(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    T* to = y.data<T>();
    const T v = static_cast<T>(value);
    parallel_runs(loop, [&](const auto& at, int64_t n) {
      const int64_t stride = loop.inner_stride(0);
      if (stride == 1) {
        std::fill_n(to + at[0], n, v);
      } else {
        for (int64_t i = 0; i < n; ++i) to[at[0] + i * stride] = v;
      }
    });
  });
}

template <class From, class To>
void copy_run(const From* x, int64_t x_stride, To* y, int64_t y_stride, int64_t n) {
  if (x_stride == 1 && y_stride == 1) {
    if constexpr (std::is_same_v<From, To>) {
      std::memcpy(y, x, static_cast<size_t>(n) * sizeof(To));
    } else {
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<To>(x[i]);
    }
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = static_cast<To>(x[i * x_stride]);
  }
}

// Tiles are read and written once each while their cache lines are there.
constexpr int64_t kTile = 32;

// y[i * y_stride + j] = x[i + j * x_stride] for i < rows, j < columns, both at most kTile.
template <class From, class To>
void transpose_tile(const From* x, int64_t x_stride, To* y, int64_t y_stride, int64_t rows, int64_t columns) {
  To tile[kTile][kTile];
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) tile[i][j] = static_cast<To>(x[i + j * x_stride]);
  }
  for (int64_t i = 0; i < rows; ++i) std::memcpy(y + i * y_stride, tile[i], static_cast<size_t>(columns) * sizeof(To));
}

// Dimension `unit` has stride 1 in x, the innermost one has stride 1 in y; the others are walked one by one.
template <class From, class To>
void copy_transposed(const From* x, To* y, const StridedLoop<2>& loop, size_t unit) {
  const size_t inner = static_cast<size_t>(loop.rank - 1);
  const int64_t rows = loop.size[unit], columns = loop.size[inner];
  const int64_t row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;
  StridedLoop<2> outer;  // all other dimensions, then the tiles
  for (size_t d = 0; d < inner; ++d) {
    if (d != unit) outer.append(loop.size[d], {loop.stride[0][d], loop.stride[1][d]});
  }
  outer.finish();
  const int64_t tiles = row_tiles * column_tiles;
  parallel_for(outer.numel() * tiles, kGrain / (kTile * kTile), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t i = task % tiles / column_tiles * kTile, j = task % column_tiles * kTile;
      for_runs(outer, task / tiles, task / tiles + 1, [&](const auto& at, int64_t) {
        transpose_tile(x + at[0] + i + j * loop.stride[0][inner], loop.stride[0][inner],
                       y + at[1] + i * loop.stride[1][unit] + j, loop.stride[1][unit], std::min(kTile, rows - i),
                       std::min(kTile, columns - j));
      });
    }
  });
}

void copy_blocked(const Tensor& x, Tensor& y) {
  const StridedLoop<2> loop = merged_loop<2>({&x, &y});
  const size_t inner = static_cast<size_t>(loop.rank - 1);
  size_t unit = inner;  // a dimension with stride 1 in x, if not the innermost one
  for (size_t d = 0; d < inner; ++d) {
    if (loop.stride[0][d] == 1 && loop.size[d] > 1) unit = d;
  }
  const bool transposed = unit != inner && loop.stride[1][inner] == 1 && loop.stride[0][inner] > 1;
  dispatch_all(x.dtype(), [&](auto from_tag) {
    dispatch_all(y.dtype(), [&](auto to_tag) {
      const auto* from = x.data<decltype(from_tag)>();
      auto* to = y.data<decltype(to_tag)>();
      if (transposed) return copy_transposed(from, to, loop, unit);
      parallel_runs(loop, [&](const auto& at, int64_t n) {
        copy_run(from + at[0], loop.inner_stride(0), to + at[1], loop.inner_stride(1), n);
      });
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(fill_blocked);
HWY_EXPORT(copy_blocked);

void register_copy() {
  kernels::fill.add(Device::cpu, "blocked", HWY_DYNAMIC_DISPATCH(fill_blocked), {}, {.strided = true, .bf16 = true});
  kernels::copy.add(Device::cpu, "blocked", HWY_DYNAMIC_DISPATCH(copy_blocked), {}, {.strided = true, .bf16 = true});
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
