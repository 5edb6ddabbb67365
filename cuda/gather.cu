// gather along the middle of [outer, n, inner], its gradient, and one-hot planes of label pictures.
// Indices are checked by the op, not here.
#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// ---- naive: one thread an output ------------------------------------------------------------------------------------

// index [outer, m, inner]
int64_t gathered_size(const Tensor& index, const AxisParams& p) {
  return index.numel() / std::max<int64_t>(p.outer * p.inner, 1);
}

template <class T>
__global__ void gather_kernel(const T* x, const int32_t* index, AxisParams p, int64_t m, T* y) {
  for_each_index(p.outer * m * p.inner, [&](int64_t k) {
    const int64_t i = k % p.inner, o = k / p.inner / m;
    y[k] = x[(o * p.n + index[k]) * p.inner + i];
  });
}

// Each element of dx looks through the m indices of its line, in order: no two threads add to one element, so that the sum
// is the same on every run. It costs n * m reads a line.
template <class T>
__global__ void gather_backward_kernel(const T* dy, const int32_t* index, AxisParams p, int64_t m, T* dx) {
  for_each_index(p.outer * p.n * p.inner, [&](int64_t k) {
    const int64_t i = k % p.inner, j = k / p.inner % p.n, first = k / p.inner / p.n * m * p.inner + i;
    T sum = 0;
    for (int64_t q = 0; q < m; ++q) {
      if (index[first + q * p.inner] == j) sum += dy[first + q * p.inner];
    }
    dx[k] = sum;
  });
}

template <class T, class Label>
__global__ void one_hot_kernel(const Label* label, int64_t count, int64_t classes, int64_t plane, T* y) {
  for_each_index(count, [&](int64_t k) {
    const int64_t i = k % plane, c = k / plane % classes, n = k / plane / classes;
    y[k] = static_cast<int64_t>(label[n * plane + i]) == c ? T(1) : T(0);
  });
}

void gather_naive(const Tensor& x, const Tensor& index, const AxisParams& p, Tensor& y) {
  dispatch_all(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(gather_kernel<T>, {blocks_for(y.numel()), kBlock}, x.data<T>(), index.data<int32_t>(), p,
           gathered_size(index, p), y.data<T>());
  });
}

void gather_backward_naive(const Tensor& dy, const Tensor& index, const AxisParams& p, Tensor& dx) {
  dispatch_floating(dy.dtype(), "gather_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(gather_backward_kernel<T>, {blocks_for(dx.numel()), kBlock}, dy.data<T>(), index.data<int32_t>(), p,
           gathered_size(index, p), dx.data<T>());
  });
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
    using Label = decltype(label_tag);
    launch(one_hot_kernel<T, Label>, {blocks_for(y.numel()), kBlock}, labels.data<Label>(), y.numel(), y.size(1),
           y.size(2) * y.size(3), y.data<T>());
  });
}

}  // namespace

void register_gather() {
  kernels::gather_forward.add(Device::cuda, "naive", gather_naive);
  kernels::gather_backward.add(Device::cuda, "naive", gather_backward_naive);
  kernels::one_hot.add(Device::cuda, "naive", one_hot_naive);
}

}  // namespace asap::cuda
