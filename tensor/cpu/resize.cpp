// Nearest and bilinear resizing of the last two dimensions, forward and backward: columns first, once for each source row,
// then rows.
#include <vector>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/resize.h"

namespace asap::cpu {
namespace {

using definitions::mix, definitions::Source, definitions::source_of;

// source_of() for a whole axis, one array for each of its parts.
template <class T>
struct Axis {
  std::vector<int32_t> i0, i1;
  std::vector<T> t;
  Axis(int64_t in, int64_t out, ResizeMode mode) {
    for (int64_t i = 0; i < out; ++i) {
      const Source s = source_of(i, in, out, mode);
      i0.push_back(static_cast<int32_t>(s.i0));
      i1.push_back(static_cast<int32_t>(s.i1));
      t.push_back(static_cast<T>(s.t));
    }
  }
};

// Two rows resized along the width; output rows in order need each source row once.
template <class T>
class ResizedRows {
 public:
  ResizedRows(const Axis<T>& axis, int64_t W) : axis_(axis), W_(W) {
    for (auto& row : rows_) row.resize(axis.t.size());
  }
  // Row h of `plane` at the new width.
  const T* get(const T* plane, int64_t h) {
    const T* source = plane + h * W_;
    for (size_t k = 0; k < 2; ++k) {
      if (sources_[k] == source) return rows_[newest_ = k].data();
    }
    newest_ = 1 - newest_;  // the other one is still in use
    sources_[newest_] = source;
    T* __restrict row = rows_[newest_].data();
    const int32_t *i0 = axis_.i0.data(), *i1 = axis_.i1.data();
    const T* t = axis_.t.data();
    for (size_t j = 0; j < axis_.t.size(); ++j) row[j] = mix(t[j], source[i0[j]], source[i1[j]]);
    return row;
  }

 private:
  const Axis<T>& axis_;
  int64_t W_;
  std::vector<T> rows_[2];
  const T* sources_[2] = {};
  size_t newest_ = 0;
};

void resize2d_forward_separable(const Tensor& x, ResizeMode mode, Tensor& y) {
  dispatch_floating(x.dtype(), "resize2d", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = x.size(2), W = x.size(3), OH = y.size(2), OW = y.size(3);
    const Axis<T> rows(H, OH, mode), columns(W, OW, mode);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    parallel_for(x.size(0) * x.size(1) * OH, std::max<int64_t>(kGrain / OW, 1), [&](int64_t begin, int64_t end) {
      ResizedRows<T> resized(columns, W);
      for (int64_t k = begin; k < end; ++k) {
        const size_t i = static_cast<size_t>(k % OH);
        const T* plane = from + k / OH * H * W;
        const T *upper = resized.get(plane, rows.i0[i]), t = rows.t[i];
        T* out = to + k * OW;
        if (t == 0) {
          std::copy_n(upper, OW, out);
        } else {
          const T* lower = resized.get(plane, rows.i1[i]);
          for (int64_t j = 0; j < OW; ++j) out[j] = mix(t, upper[j], lower[j]);
        }
      }
    });
  });
}

// Transposed: dx's row first sums the rows of dy that read it, then folds the columns.
void resize2d_backward_separable(const Tensor& dy, ResizeMode mode, Tensor& dx) {
  dispatch_floating(dy.dtype(), "resize2d_backward", [&](auto tag) {
    using T = decltype(tag);
    const int64_t H = dx.size(2), W = dx.size(3), OH = dy.size(2), OW = dy.size(3);
    const Axis<T> rows(H, OH, mode), columns(W, OW, mode);
    const T* grad = dy.data<T>();
    T* to = dx.data<T>();
    parallel_for(dx.size(0) * dx.size(1) * H, std::max<int64_t>(kGrain / std::max(OW * OH / H, W), 1),
                 [&](int64_t begin, int64_t end) {
                   std::vector<T> sums(static_cast<size_t>(OW));
                   for (int64_t k = begin; k < end; ++k) {
                     const int64_t h = k % H;
                     std::fill(sums.begin(), sums.end(), T(0));
                     // i0 grows with i: rows that read h are neighbours.
                     const auto first = std::lower_bound(rows.i1.begin(), rows.i1.end(), h) - rows.i1.begin();
                     for (int64_t i = first; i < OH && rows.i0[static_cast<size_t>(i)] <= h; ++i) {
                       const size_t at = static_cast<size_t>(i);
                       const T weight =
                           (rows.i0[at] == h ? 1 - rows.t[at] : T(0)) + (rows.i1[at] == h ? rows.t[at] : T(0));
                       const T* row = grad + (k / H * OH + i) * OW;
                       for (int64_t j = 0; j < OW; ++j) sums[static_cast<size_t>(j)] += weight * row[j];
                     }
                     T* out = to + k * W;
                     std::fill_n(out, W, T(0));
                     for (size_t j = 0; j < sums.size(); ++j) {
                       out[columns.i0[j]] += (1 - columns.t[j]) * sums[j];
                       out[columns.i1[j]] += columns.t[j] * sums[j];
                     }
                   }
                 });
  });
}

}  // namespace

void register_resize() {
  kernels::resize2d_forward.add(Device::cpu, "separable", resize2d_forward_separable);
  kernels::resize2d_backward.add(Device::cpu, "separable", resize2d_backward_separable);
}

}  // namespace asap::cpu
