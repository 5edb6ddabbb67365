// Instance and batch normalisation with a fused LeakyReLU, forward and backward: a thread takes whole groups of elements that
// share a mean, whose sums are those of chunks added in order, whatever the number of threads.
// Sources: Ulyanov et al. 2016 (instance norm), Ioffe & Szegedy 2015 (batch norm, with its gradient).
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/norm.cpp"
#include "tensor/cpu/targets.h"

#include <cmath>
#include <vector>

#include "tensor/cpu/reduce_run.h"
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/definitions/norm.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

using definitions::NormGroups;

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

// f(g) for every group.
template <class F>
void for_each_group(const NormGroups& groups, const F& f) {
  parallel_for(groups.count, std::max<int64_t>(kGrain / groups.size(), 1), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) f(g);
  });
}
// f(first, n) for the chunks of group g: at most `chunk` elements that lie side by side.
template <class F>
void for_each_chunk(const NormGroups& groups, int64_t g, int64_t chunk, const F& f) {
  for (int64_t k = 0; k < groups.planes; ++k) {
    for (int64_t at = 0; at < groups.plane; at += chunk) f(groups.start(g, k) + at, std::min(chunk, groups.plane - at));
  }
}

// y = act(affine(x)). Parameters by value: they stay in registers while y is written. x and y are X, all else is T.
template <class X, class T>
void write_run(const X* x, int64_t n, Affine<T> affine, T slope, X* y) {
  ASAP_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T v = affine(x[i]);
    y[i] = static_cast<X>(v > 0 ? v : slope * v);
  }
}

// Mean and variance come from the sums of x - x[0] and its square: the shift leaves nothing large to cancel.
void norm_forward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params, Tensor& y,
                  Tensor& mean, Tensor& rstd) {
  constexpr int64_t kChunk = 8192;  // stays in the first cache between the two sums
  dispatch_stored(x.dtype(), "norm", [&]<class X, class T>(X, T) {
    const NormGroups groups(x, mean);
    const X* from = x.data<X>();
    X* to = y.data<X>();
    const T slope = static_cast<T>(params.activation_slope);
    for_each_group(groups, [&](int64_t g) {
      const double shift = from[groups.start(g, 0)], size = static_cast<double>(groups.size());
      double sum = 0, squares = 0;
      for_each_chunk(groups, g, kChunk, [&](int64_t first, int64_t n) {
        const auto d = [run = from + first, shift](int64_t i) { return run[i] - shift; };
        sum += reduce_run<Sum<T>>(n, d);
        squares += reduce_run<Sum<T>>(n, [d](int64_t i) { return d(i) * d(i); });
      });
      const double offset = sum / size, variance = std::max(squares / size - offset * offset, 0.0);
      mean.data<T>()[g] = static_cast<T>(shift + offset);
      rstd.data<T>()[g] = static_cast<T>(1 / std::sqrt(variance + params.eps));
      const auto affine = affine_of(gamma, beta, mean.data<T>()[g], rstd.data<T>()[g], g % groups.channels);
      for_each_chunk(groups, g, groups.plane,
                     [&](int64_t first, int64_t n) { write_run(from + first, n, affine, slope, to + first); });
    });
  });
}

// Sums of u and u * xhat (../definitions/norm.h).
struct GradientSums {
  double u = 0, u_xhat = 0;
};

constexpr int64_t kGradientChunk = 512;
template <class X, class T>
void add_gradients(const X* x, const X* dy, int64_t n, Affine<T> affine, T rstd, T slope, GradientSums& sums) {
  T u[kGradientChunk], u_xhat[kGradientChunk];
  for (int64_t i = 0; i < n; ++i) {
    const T value = x[i], grad = dy[i];
    u[i] = affine(value) > 0 ? grad : slope * grad;
    u_xhat[i] = u[i] * ((value - affine.mean) * rstd);
  }
  sums.u += reduce_run<Sum<T>>(n, [&](int64_t i) { return u[i]; });
  sums.u_xhat += reduce_run<Sum<T>>(n, [&](int64_t i) { return u_xhat[i]; });
}

template <class X, class T>
void write_gradient_run(const X* x, const X* dy, int64_t n, Affine<T> affine, T rstd, T slope, T mean_u, T mean_u_xhat,
                        X* dx) {
  ASAP_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T u = affine(x[i]) > 0 ? dy[i] : slope * dy[i];
    dx[i] = static_cast<X>(affine.scale * (u - mean_u - (x[i] - affine.mean) * rstd * mean_u_xhat));
  }
}

// dparameter[c] = sum of the sums of c's groups.
void sum_groups(const NormGroups& groups, const std::vector<GradientSums>& sums, double GradientSums::*which,
                Tensor& dparameter) {
  if (!dparameter.defined()) return;
  dispatch_floating(dparameter.dtype(), "norm_backward", [&]<class T>(T) {
    for (int64_t c = 0; c < groups.channels; ++c) {
      double sum = 0;
      for (int64_t g = c; g < groups.count; g += groups.channels) sum += sums[static_cast<size_t>(g)].*which;
      dparameter.data<T>()[c] = static_cast<T>(sum);
    }
  });
}

void norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& rstd,
                   const Tensor& dy, const NormParams& params, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
  const NormGroups groups(x, mean);
  std::vector<GradientSums> sums(static_cast<size_t>(groups.count));
  dispatch_stored(x.dtype(), "norm_backward", [&]<class X, class T>(X, T) {
    const X *from = x.data<X>(), *grad = dy.data<X>();
    X* to = dx.data<X>();
    const T slope = static_cast<T>(params.activation_slope);
    for_each_group(groups, [&](int64_t g) {
      const T r = rstd.data<T>()[g];
      const auto affine = affine_of(gamma, beta, mean.data<T>()[g], r, g % groups.channels);
      GradientSums sum;
      for_each_chunk(groups, g, kGradientChunk, [&](int64_t first, int64_t n) {
        add_gradients(from + first, grad + first, n, affine, r, slope, sum);
      });
      sums[static_cast<size_t>(g)] = sum;
      const T mean_u = static_cast<T>(sum.u / static_cast<double>(groups.size())),
              mean_u_xhat = static_cast<T>(sum.u_xhat / static_cast<double>(groups.size()));
      for_each_chunk(groups, g, groups.plane, [&](int64_t first, int64_t n) {
        write_gradient_run(from + first, grad + first, n, affine, r, slope, mean_u, mean_u_xhat, to + first);
      });
    });
  });
  sum_groups(groups, sums, &GradientSums::u_xhat, dgamma);
  sum_groups(groups, sums, &GradientSums::u, dbeta);
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(norm_forward);
HWY_EXPORT(norm_backward);

void register_norm() {
  kernels::norm_forward.add(Device::cpu, "chunked", HWY_DYNAMIC_DISPATCH(norm_forward), {}, {.bf16 = true});
  kernels::norm_backward.add(Device::cpu, "chunked", HWY_DYNAMIC_DISPATCH(norm_backward), {}, {.bf16 = true});
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
