// softmax and log_softmax over the middle of [outer, n, inner], forward and backward. The largest value is subtracted
// first, so no exponential overflows. Next: gather.cu.
#include <limits>

#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// ---- naive: one thread a slice --------------------------------------------------------------------------------------

// The first element of slice k; the others follow `inner` apart.
__device__ __forceinline__ int64_t slice_start(const AxisParams& p, int64_t k) {
  return k / p.inner * p.n * p.inner + k % p.inner;
}

// Largest value of a slice and log(sum(exp(x - largest))).
template <class T>
struct LogSum {
  T largest;
  double log_sum;
};
template <class T>
__device__ LogSum<T> log_sum_exp(const T* x, const AxisParams& p) {
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t j = 0; j < p.n; ++j) largest = x[j * p.inner] > largest ? x[j * p.inner] : largest;
  double sum = 0;
  for (int64_t j = 0; j < p.n; ++j) sum += exp(static_cast<double>(x[j * p.inner] - largest));
  return {largest, log(sum)};
}

// y = exp(x) / sum(exp(x)), or with Log y = x - log(sum(exp(x)))
template <bool Log, class T>
__global__ void softmax_kernel(const T* x, AxisParams p, T* y) {
  for_each_index(p.outer * p.inner, [&](int64_t k) {
    const int64_t first = slice_start(p, k);
    const LogSum<T> s = log_sum_exp(x + first, p);
    for (int64_t j = 0; j < p.n; ++j) {
      const double log_y = static_cast<double>(x[first + j * p.inner] - s.largest) - s.log_sum;
      y[first + j * p.inner] = static_cast<T>(Log ? log_y : exp(log_y));
    }
  });
}

// dx = y * (dy - sum(y * dy)), or with Log dx = dy - exp(y) * sum(dy)
template <bool Log, class T>
__global__ void softmax_backward_kernel(const T* y, const T* dy, AxisParams p, T* dx) {
  for_each_index(p.outer * p.inner, [&](int64_t k) {
    const int64_t first = slice_start(p, k);
    double sum = 0;
    for (int64_t j = 0; j < p.n; ++j) {
      const int64_t i = first + j * p.inner;
      sum += Log ? static_cast<double>(dy[i]) : static_cast<double>(y[i]) * dy[i];
    }
    for (int64_t j = 0; j < p.n; ++j) {
      const int64_t i = first + j * p.inner;
      dx[i] = static_cast<T>(Log ? dy[i] - exp(static_cast<double>(y[i])) * sum : y[i] * (dy[i] - sum));
    }
  });
}

template <bool Log>
void forward_naive(const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "softmax", [&](auto tag) {
    using T = decltype(tag);
    launch(softmax_kernel<Log, T>, {blocks_for(p.outer * p.inner), kBlock}, x.data<T>(), p, y.data<T>());
  });
}

template <bool Log>
void backward_naive(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  dispatch_floating(y.dtype(), "softmax_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(softmax_backward_kernel<Log, T>, {blocks_for(p.outer * p.inner), kBlock}, y.data<T>(), dy.data<T>(), p,
           dx.data<T>());
  });
}

}  // namespace

void register_softmax() {
  kernels::softmax_forward.add(Device::cuda, "naive", forward_naive<false>);
  kernels::softmax_backward.add(Device::cuda, "naive", backward_naive<false>);
  kernels::log_softmax_forward.add(Device::cuda, "naive", forward_naive<true>);
  kernels::log_softmax_backward.add(Device::cuda, "naive", backward_naive<true>);
}

}  // namespace asap::cuda
