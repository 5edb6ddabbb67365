// softmax and log_softmax over the middle of [outer, n, inner], forward and backward. The largest value is subtracted
// first, so no exponential overflows. `strips` works on up to 256 slices side by side, or on one if the axis itself is
// contiguous. Next: gather.cpp.
#include <cmath>
#include <limits>

#include "tensor/cpu/reduce_run.h"
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

constexpr int64_t kStrip = 256;

// `width` neighbouring slices; element j of slice i is at base + j * inner + i. With inner == 1, one slice.
struct Strip {
  int64_t base, width, n, inner;

  // Calls f(k, value[i]) for all elements, k the element's position, i its slice.
  template <class V, class F>
  void for_each(V* value, const F& f) const {
    if (inner == 1) {
      V only = value[0];
#pragma GCC ivdep
      for (int64_t j = 0; j < n; ++j) f(base + j, only);
      return;
    }
    for (int64_t j = 0; j < n; ++j) {
#pragma GCC ivdep
      for (int64_t i = 0; i < width; ++i) f(base + j * inner + i, value[i]);
    }
  }

  // acc[i] = all value(k) of slice i combined.
  template <class Op, class F>
  void reduce(const F& value, typename Op::Acc* acc) const {
    if (inner == 1) {
      acc[0] = reduce_run<Op>(n, [&](int64_t j) { return value(base + j); });
      return;
    }
    std::fill_n(acc, width, Op::kStart);
    for_each(acc, [&](int64_t k, auto& a) { a = Op::combine(a, value(k)); });
  }
};

template <class F>
void for_each_strip(const AxisParams& p, const F& f) {
  const int64_t strips = (p.inner + kStrip - 1) / kStrip, size = p.n * std::min(p.inner, kStrip);
  parallel_for(p.outer * strips, std::max<int64_t>(kGrain / 4 / std::max<int64_t>(size, 1), 1),
               [&](int64_t begin, int64_t end) {
                 for (int64_t task = begin; task < end; ++task) {
                   const int64_t column = task % strips * kStrip;
                   f(Strip{task / strips * p.n * p.inner + column, std::min(kStrip, p.inner - column), p.n, p.inner});
                 }
               });
}

// y = exp(x - largest); `largest` and `sum` of y for each slice.
template <class T>
void exponentials(const Strip& strip, const T* x, T* y, T* largest, double* sum) {
  strip.reduce<Max<T>>([&](int64_t k) { return x[k]; }, largest);
  strip.for_each(largest, [&](int64_t k, T most) { y[k] = vector_math::exp(x[k] - most); });
  strip.reduce<Sum<T>>([&](int64_t k) { return y[k]; }, sum);
}

void softmax_strips(const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "softmax", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_strip(p, [&](const Strip& strip) {
      T largest[kStrip], scale[kStrip];
      double sum[kStrip];
      exponentials(strip, from, to, largest, sum);
      for (int64_t i = 0; i < strip.width; ++i) scale[i] = static_cast<T>(1 / sum[i]);
      strip.for_each(scale, [&](int64_t k, T factor) { to[k] *= factor; });
    });
  });
}

void log_softmax_strips(const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "log_softmax", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for_each_strip(p, [&](const Strip& strip) {
      T largest[kStrip], log_sum[kStrip];
      double sum[kStrip];
      exponentials(strip, from, to, largest, sum);
      for (int64_t i = 0; i < strip.width; ++i) log_sum[i] = static_cast<T>(std::log(sum[i]));
      strip.for_each(largest, [&](int64_t k, T most) { to[k] = from[k] - most; });
      strip.for_each(log_sum, [&](int64_t k, T all) { to[k] -= all; });
    });
  });
}

void softmax_backward_strips(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  dispatch_floating(y.dtype(), "softmax_backward", [&](auto tag) {
    using T = decltype(tag);
    const T *v = y.data<T>(), *g = dy.data<T>();
    T* to = dx.data<T>();
    for_each_strip(p, [&](const Strip& strip) {
      double sum[kStrip];
      T total[kStrip];
      strip.reduce<Sum<T>>([&](int64_t k) { return static_cast<double>(v[k]) * g[k]; }, sum);
      for (int64_t i = 0; i < strip.width; ++i) total[i] = static_cast<T>(sum[i]);
      strip.for_each(total, [&](int64_t k, T all) { to[k] = v[k] * (g[k] - all); });
    });
  });
}

void log_softmax_backward_strips(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  dispatch_floating(y.dtype(), "log_softmax_backward", [&](auto tag) {
    using T = decltype(tag);
    const T *v = y.data<T>(), *g = dy.data<T>();
    T* to = dx.data<T>();
    for_each_strip(p, [&](const Strip& strip) {
      double sum[kStrip];
      T total[kStrip];
      strip.reduce<Sum<T>>([&](int64_t k) { return g[k]; }, sum);
      for (int64_t i = 0; i < strip.width; ++i) total[i] = static_cast<T>(sum[i]);
      strip.for_each(total, [&](int64_t k, T all) { to[k] = g[k] - vector_math::exp(v[k]) * all; });
    });
  });
}

}  // namespace

void register_softmax() {
  kernels::softmax_forward.add(Device::cpu, "strips", softmax_strips);
  kernels::softmax_backward.add(Device::cpu, "strips", softmax_backward_strips);
  kernels::log_softmax_forward.add(Device::cpu, "strips", log_softmax_strips);
  kernels::log_softmax_backward.add(Device::cpu, "strips", log_softmax_backward_strips);
}

}  // namespace asap::cpu
