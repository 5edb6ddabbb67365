// gather along the middle of [outer, n, inner], its gradient, and one-hot planes of label pictures.
// Indices are checked by the op (ops_joining.cpp), not here.
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

int64_t gathered_size(const Tensor& index, const AxisParams& p) {
  return index.numel() / std::max<int64_t>(p.outer * p.inner, 1);
}

// Calls f(T{}, L{}) with y's and the labels' types; labels are i32 or u8.
template <class F>
void dispatch_labels(const Tensor& labels, const Tensor& y, const F& f) {
  dispatch_floating(y.dtype(), "one_hot",
                    [&](auto tag) { labels.dtype() == DType::u8 ? f(tag, uint8_t{}) : f(tag, int32_t{}); });
}

void one_hot_naive(const Tensor& labels, Tensor& y) {
  dispatch_labels(labels, y, [&](auto tag, auto label_tag) {
    using T = decltype(tag);
    const auto* label = labels.data<decltype(label_tag)>();
    T* to = y.data<T>();
    const int64_t N = y.size(0), C = y.size(1), plane = y.size(2) * y.size(3);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t c = 0; c < C; ++c) {
        for (int64_t i = 0; i < plane; ++i) to[(n * C + c) * plane + i] = label[n * plane + i] == c ? T(1) : T(0);
      }
    }
  });
}

// ---- parallel -----------------------------------------------------------------------------------------------------

void gather_parallel(const Tensor& x, const Tensor& index, const AxisParams& p, Tensor& y) {
  dispatch_all(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    const int32_t* at = index.data<int32_t>();
    T* to = y.data<T>();
    const int64_t m = gathered_size(index, p);
    parallel_for(p.outer * m, std::max<int64_t>(kGrain / p.inner, 1), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const T* slab = from + row / m * p.n * p.inner;
        for (int64_t i = 0; i < p.inner; ++i) to[row * p.inner + i] = slab[at[row * p.inner + i] * p.inner + i];
      }
    });
  });
}

// Equal indices meet only within one (outer, inner) line: threads take whole columns, each in the order of the index.
void gather_backward_parallel(const Tensor& dy, const Tensor& index, const AxisParams& p, Tensor& dx) {
  constexpr int64_t kColumns = 64;
  dispatch_floating(dy.dtype(), "gather_backward", [&](auto tag) {
    using T = decltype(tag);
    const T* g = dy.data<T>();
    const int32_t* at = index.data<int32_t>();
    T* to = dx.data<T>();
    const int64_t m = gathered_size(index, p), strips = (p.inner + kColumns - 1) / kColumns;
    const int64_t size = std::max<int64_t>(std::max(m, p.n) * std::min(kColumns, p.inner), 1);
    parallel_for(p.outer * strips, std::max<int64_t>(kGrain / size, 1), [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t o = task / strips, first = task % strips * kColumns, last = std::min(first + kColumns, p.inner);
        for (int64_t j = 0; j < p.n; ++j) std::fill_n(to + (o * p.n + j) * p.inner + first, last - first, T(0));
        for (int64_t j = 0; j < m; ++j) {
          for (int64_t i = first; i < last; ++i) {
            const int64_t k = (o * m + j) * p.inner + i;
            to[(o * p.n + at[k]) * p.inner + i] += g[k];
          }
        }
      }
    });
  });
}

// A tile of labels stays in cache while all its planes are written.
void one_hot_tiled(const Tensor& labels, Tensor& y) {
  constexpr int64_t kTile = 4096;
  dispatch_labels(labels, y, [&](auto tag, auto label_tag) {
    using T = decltype(tag);
    using Label = decltype(label_tag);
    const Label* label = labels.data<Label>();
    T* to = y.data<T>();
    const int64_t N = y.size(0), C = y.size(1), plane = y.size(2) * y.size(3), tiles = (plane + kTile - 1) / kTile;
    parallel_for(
        N * tiles, std::max<int64_t>(kGrain / (C * std::min(plane, kTile)), 1), [&](int64_t begin, int64_t end) {
          for (int64_t task = begin; task < end; ++task) {
            const int64_t n = task / tiles, first = task % tiles * kTile, last = std::min(first + kTile, plane);
            for (int64_t c = 0; c < C; ++c) {
              T* row = to + (n * C + c) * plane;
              const Label* from = label + n * plane;
#pragma GCC ivdep
              for (int64_t i = first; i < last; ++i) row[i] = from[i] == c ? T(1) : T(0);
            }
          }
        });
  });
}

}  // namespace

void register_gather() {
  kernels::gather_forward.add(Device::cpu, "parallel", gather_parallel, {}, {.bf16 = true});
  kernels::gather_backward.add(Device::cpu, "parallel", gather_backward_parallel);
  kernels::one_hot.add(Device::cpu, "tiled", one_hot_tiled);
  kernels::one_hot.add(Device::cpu, "naive", one_hot_naive);
}

}  // namespace asap::cpu
