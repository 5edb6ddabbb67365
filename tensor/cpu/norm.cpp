// Instance and batch normalisation with a fused LeakyReLU, forward and backward. Both are one computation on groups of
// elements that share a mean: a plane of one picture, or a channel of the whole batch.
// Sources: Ulyanov et al. 2016 (instance norm), Ioffe & Szegedy 2015 (batch norm, with its gradient).
#include <cmath>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// Group g consists of `segments` runs of `length` elements; its channel is g % channels.
struct Groups {
  int64_t count, segments, length, channels;
  int64_t start(int64_t g, int64_t segment) const { return (segment * count + g) * length; }
  double size() const { return static_cast<double>(segments * length); }
};
Groups instance_groups(const Tensor& x) {
  const int64_t planes = x.size(0) * x.size(1);
  return {planes, 1, planes ? x.numel() / planes : 0, x.size(1)};
}
Groups batch_groups(const Tensor& x) {
  const int64_t planes = x.size(0) * x.size(1);
  return {x.size(1), x.size(0), planes ? x.numel() / planes : 0, x.size(1)};
}

template <class T>
const T* optional_data(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}
template <class T>
T* optional_data(Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

// y = act((x - mean) * scale + shift). Forward and backward share this expression: both must agree on its sign.
template <class T>
struct Affine {
  T mean, scale, shift;
  T operator()(T x) const { return (x - mean) * scale + shift; }
};
template <class T>
Affine<T> affine_of(const Tensor& gamma, const Tensor& beta, T mean, T rstd, int64_t channel) {
  return {mean, gamma.defined() ? gamma.data<T>()[channel] * rstd : rstd,
          beta.defined() ? beta.data<T>()[channel] : T(0)};
}

// ---- naive: the definition ----------------------------------------------------------------------------------------

template <class F>
void for_each_element(const Groups& groups, int64_t g, const F& f) {
  for (int64_t s = 0; s < groups.segments; ++s) {
    for (int64_t i = 0; i < groups.length; ++i) f(groups.start(g, s) + i);
  }
}

void norm_forward_naive(const Groups& groups, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                        const NormParams& params, Tensor& y, Tensor& mean, Tensor& rstd) {
  dispatch_floating(x.dtype(), "norm", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const T slope = static_cast<T>(params.activation_slope);
    for (int64_t g = 0; g < groups.count; ++g) {
      double sum = 0, squares = 0;
      for_each_element(groups, g, [&](int64_t i) { sum += from[i]; });
      const double average = sum / groups.size();
      for_each_element(groups, g, [&](int64_t i) { squares += (from[i] - average) * (from[i] - average); });
      mean.data<T>()[g] = static_cast<T>(average);
      rstd.data<T>()[g] = static_cast<T>(1 / std::sqrt(squares / groups.size() + params.eps));
      const auto affine = affine_of(gamma, beta, mean.data<T>()[g], rstd.data<T>()[g], g % groups.channels);
      for_each_element(groups, g, [&](int64_t i) {
        const T v = affine(from[i]);
        to[i] = v > 0 ? v : slope * v;
      });
    }
  });
}

// With xhat = (x - mean) * rstd and u = act'(.) * dy:
// dx = gamma * rstd * (u - mean(u) - xhat * mean(u * xhat)), dgamma = sum(u * xhat), dbeta = sum(u).
void norm_backward_naive(const Groups& groups, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                         const Tensor& mean, const Tensor& rstd, const Tensor& dy, const NormParams& params, Tensor& dx,
                         Tensor& dgamma, Tensor& dbeta) {
  if (dgamma.defined()) kernels::fill.run(Device::cpu, 0.0, dgamma);
  if (dbeta.defined()) kernels::fill.run(Device::cpu, 0.0, dbeta);
  dispatch_floating(x.dtype(), "norm_backward", [&](auto tag) {
    using T = decltype(tag);
    const T *from = x.data<T>(), *grad = dy.data<T>();
    T* to = dx.data<T>();
    const T slope = static_cast<T>(params.activation_slope);
    for (int64_t g = 0; g < groups.count; ++g) {
      const int64_t channel = g % groups.channels;
      const T m = mean.data<T>()[g], r = rstd.data<T>()[g];
      const auto affine = affine_of(gamma, beta, m, r, channel);
      const auto u = [&](int64_t i) { return affine(from[i]) > 0 ? grad[i] : slope * grad[i]; };
      const auto xhat = [&](int64_t i) { return (from[i] - m) * r; };
      double sum_u = 0, sum_u_xhat = 0;
      for_each_element(groups, g, [&](int64_t i) { sum_u += u(i), sum_u_xhat += static_cast<double>(u(i)) * xhat(i); });
      for_each_element(groups, g, [&](int64_t i) {
        to[i] = static_cast<T>(affine.scale * (u(i) - sum_u / groups.size() - xhat(i) * (sum_u_xhat / groups.size())));
      });
      if (dgamma.defined()) dgamma.data<T>()[channel] += static_cast<T>(sum_u_xhat);
      if (dbeta.defined()) dbeta.data<T>()[channel] += static_cast<T>(sum_u);
    }
  });
}

using ForwardImpl = void(const Groups&, const Tensor&, const Tensor&, const Tensor&, const NormParams&, Tensor&, Tensor&,
                         Tensor&);
using BackwardImpl = void(const Groups&, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                          const Tensor&, const NormParams&, Tensor&, Tensor&, Tensor&);

void add_variants(const char* variant, ForwardImpl* forward, BackwardImpl* backward) {
  const auto run_forward = [forward](Groups (*groups)(const Tensor&)) {
    return [=](const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& p, Tensor& y, Tensor& mean,
               Tensor& rstd) { forward(groups(x), x, gamma, beta, p, y, mean, rstd); };
  };
  const auto run_backward = [backward](Groups (*groups)(const Tensor&)) {
    return [=](const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& rstd,
               const Tensor& dy, const NormParams& p, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
      backward(groups(x), x, gamma, beta, mean, rstd, dy, p, dx, dgamma, dbeta);
    };
  };
  kernels::instance_norm_forward.add(Device::cpu, variant, run_forward(instance_groups));
  kernels::instance_norm_backward.add(Device::cpu, variant, run_backward(instance_groups));
  kernels::batch_norm_forward.add(Device::cpu, variant, run_forward(batch_groups));
  kernels::batch_norm_backward.add(Device::cpu, variant, run_backward(batch_groups));
}

}  // namespace

void register_norm() { add_variants("naive", norm_forward_naive, norm_backward_naive); }

}  // namespace asap::cpu
