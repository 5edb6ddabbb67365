// softmax and log_softmax over the middle of [outer, n, inner], forward and backward. The largest value is subtracted
// first, so no exponential overflows. Next: gather.cpp.
#include <cmath>
#include <limits>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

// Calls f(T{}, first) for every slice along the axis; its elements are first, first + inner, ...
template <class F>
void for_each_slice(DType dtype, const char* op, const AxisParams& p, const F& f) {
  dispatch_floating(dtype, op, [&](auto tag) {
    for (int64_t o = 0; o < p.outer; ++o) {
      for (int64_t i = 0; i < p.inner; ++i) f(tag, o * p.n * p.inner + i);
    }
  });
}

// Largest value of a slice and log(sum(exp(x - largest))).
template <class T>
struct LogSum {
  T largest;
  double log_sum;
};
template <class T>
LogSum<T> log_sum_exp(const T* x, const AxisParams& p) {
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t j = 0; j < p.n; ++j) largest = std::max(largest, x[j * p.inner]);
  double sum = 0;
  for (int64_t j = 0; j < p.n; ++j) sum += std::exp(static_cast<double>(x[j * p.inner] - largest));
  return {largest, std::log(sum)};
}

// y = exp(x) / sum(exp(x))
void softmax_naive(const Tensor& x, const AxisParams& p, Tensor& y) {
  for_each_slice(x.dtype(), "softmax", p, [&](auto tag, int64_t first) {
    using T = decltype(tag);
    const T* from = x.data<T>() + first;
    T* to = y.data<T>() + first;
    const LogSum<T> s = log_sum_exp(from, p);
    for (int64_t j = 0; j < p.n; ++j) {
      to[j * p.inner] = static_cast<T>(std::exp(static_cast<double>(from[j * p.inner] - s.largest) - s.log_sum));
    }
  });
}

// y = x - log(sum(exp(x)))
void log_softmax_naive(const Tensor& x, const AxisParams& p, Tensor& y) {
  for_each_slice(x.dtype(), "log_softmax", p, [&](auto tag, int64_t first) {
    using T = decltype(tag);
    const T* from = x.data<T>() + first;
    T* to = y.data<T>() + first;
    const LogSum<T> s = log_sum_exp(from, p);
    for (int64_t j = 0; j < p.n; ++j) {
      to[j * p.inner] = static_cast<T>(static_cast<double>(from[j * p.inner] - s.largest) - s.log_sum);
    }
  });
}

// dx = y * (dy - sum(y * dy))
void softmax_backward_naive(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  for_each_slice(y.dtype(), "softmax_backward", p, [&](auto tag, int64_t first) {
    using T = decltype(tag);
    const T *v = y.data<T>() + first, *g = dy.data<T>() + first;
    T* to = dx.data<T>() + first;
    double sum = 0;
    for (int64_t j = 0; j < p.n; ++j) sum += static_cast<double>(v[j * p.inner]) * g[j * p.inner];
    for (int64_t j = 0; j < p.n; ++j) to[j * p.inner] = static_cast<T>(v[j * p.inner] * (g[j * p.inner] - sum));
  });
}

// dx = dy - exp(y) * sum(dy)
void log_softmax_backward_naive(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  for_each_slice(y.dtype(), "log_softmax_backward", p, [&](auto tag, int64_t first) {
    using T = decltype(tag);
    const T *v = y.data<T>() + first, *g = dy.data<T>() + first;
    T* to = dx.data<T>() + first;
    double sum = 0;
    for (int64_t j = 0; j < p.n; ++j) sum += g[j * p.inner];
    for (int64_t j = 0; j < p.n; ++j) {
      to[j * p.inner] = static_cast<T>(g[j * p.inner] - std::exp(static_cast<double>(v[j * p.inner])) * sum);
    }
  });
}

}  // namespace

void register_softmax() {
  kernels::softmax_forward.add(Device::cpu, "naive", softmax_naive);
  kernels::softmax_backward.add(Device::cpu, "naive", softmax_backward_naive);
  kernels::log_softmax_forward.add(Device::cpu, "naive", log_softmax_naive);
  kernels::log_softmax_backward.add(Device::cpu, "naive", log_softmax_backward_naive);
}

}  // namespace asap::cpu
