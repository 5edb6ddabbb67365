// Instance and batch normalisation with a fused LeakyReLU, forward and backward. Both are one computation on groups of
// elements that share a mean: a plane of one picture, or a channel of the whole batch.
// Sources: Ulyanov et al. 2016 (instance norm), Ioffe & Szegedy 2015 (batch norm, with its gradient).
#include <cmath>
#include <vector>

#include "tensor/cpu/norm.h"
#include "tensor/cpu/reduce_run.h"
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
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

// x and y are X, all else is T: bf16 computes in float.
template <class X>
using Computed = std::conditional_t<std::is_same_v<X, bf16>, float, X>;
template <class F>
void dispatch_stored(DType dtype, const char* op, const F& f) {
  dtype == DType::bf16 ? f(bf16{}) : dispatch_floating(dtype, op, f);
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

// A group is read in chunks of a fixed size, whose sums are added in order: results do not depend on the number of
// threads, which take whole groups, or chunks of one group where groups are few.

constexpr int64_t kChunk = 8192;  // stays in the first cache between two passes

struct Chunks {
  const Groups& groups;
  int64_t per_segment = (groups.length + kChunk - 1) / kChunk;
  bool split = groups.count < 4 * omp_get_max_threads();  // threads share each group

  // Calls f(first, n, c) for every chunk c of group g.
  template <class F>
  void for_each(int64_t g, const F& f) const {
    const auto run = [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        const int64_t offset = c % per_segment * kChunk;
        f(groups.start(g, c / per_segment) + offset, std::min(kChunk, groups.length - offset), c);
      }
    };
    const int64_t count = groups.segments * per_segment;
    split ? parallel_for(count, std::max<int64_t>(2 * kChunk / groups.length, 2), run) : run(0, count);
  }

  // Calls f(g, workspace) for every group.
  template <class Workspace, class F>
  void for_each_group(const F& f) const {
    const auto run = [&](int64_t begin, int64_t end) {
      std::vector<Workspace> workspace(static_cast<size_t>(groups.segments * per_segment));
      for (int64_t g = begin; g < end; ++g) f(g, workspace.data());
    };
    const int64_t size = std::max<int64_t>(groups.segments * groups.length, 1);
    split ? run(0, groups.count) : parallel_for(groups.count, std::max<int64_t>(kGrain / size, 1), run);
  }
};

struct SumPair {
  double first = 0, second = 0;
};
SumPair total(const SumPair* partial, int64_t n) {
  SumPair sum;
  for (int64_t c = 0; c < n; ++c) sum.first += partial[c].first, sum.second += partial[c].second;
  return sum;
}

// y = act(affine(x)). Parameters by value: they stay in registers while y is written.
template <class X, class T>
void write_run(const X* x, int64_t n, Affine<T> affine, T slope, X* y) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T v = affine(x[i]);
    y[i] = static_cast<X>(v > 0 ? v : slope * v);
  }
}

// Mean and variance come from the sums of x - x[0] and its square: the shift leaves nothing large to cancel.
void norm_forward(const Groups& groups, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  const NormParams& params, Tensor& y, Tensor& mean, Tensor& rstd) {
  dispatch_stored(x.dtype(), "norm", [&]<class X>(X) {
    using T = Computed<X>;
    const X* from = x.data<X>();
    X* to = y.data<X>();
    const T slope = static_cast<T>(params.activation_slope);
    const Chunks chunks{groups};
    chunks.for_each_group<SumPair>([&](int64_t g, SumPair* partial) {
      const double shift = from[groups.start(g, 0)];
      chunks.for_each(g, [&](int64_t first, int64_t n, int64_t c) {
        const auto d = [run = from + first, shift](int64_t i) { return run[i] - shift; };
        partial[c] = {reduce_run<Sum<T>>(n, d), reduce_run<Sum<T>>(n, [d](int64_t i) { return d(i) * d(i); })};
      });
      const SumPair sum = total(partial, groups.segments * chunks.per_segment);
      const double offset = sum.first / groups.size();
      const double variance = std::max(sum.second / groups.size() - offset * offset, 0.0);
      mean.data<T>()[g] = static_cast<T>(shift + offset);
      rstd.data<T>()[g] = static_cast<T>(1 / std::sqrt(variance + params.eps));
      const auto affine = affine_of(gamma, beta, mean.data<T>()[g], rstd.data<T>()[g], g % groups.channels);
      chunks.for_each(
          g, [&](int64_t first, int64_t n, int64_t) { write_run(from + first, n, affine, slope, to + first); });
    });
  });
}

// dparameter[c] = sum of the sums of c's groups.
template <class T, class F>
void sum_groups(const Groups& groups, const F& sum_of, Tensor& dparameter) {
  if (!dparameter.defined()) return;
  for (int64_t c = 0; c < groups.channels; ++c) {
    double sum = 0;
    for (int64_t g = c; g < groups.count; g += groups.channels) sum += sum_of(g);
    dparameter.data<T>()[c] = static_cast<T>(sum);
  }
}

// Sums of u and u * xhat over n elements (../definitions/norm.h).
template <class X, class T>
SumPair gradient_sums(const X* x, const X* dy, int64_t n, Affine<T> affine, T rstd, T slope) {
  constexpr int64_t kBlock = 512;
  T u[kBlock], u_xhat[kBlock];
  SumPair sum;
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t size = std::min(kBlock, n - first);
    for (int64_t i = 0; i < size; ++i) {
      const T value = x[first + i], grad = dy[first + i];
      u[i] = affine(value) > 0 ? grad : slope * grad;
      u_xhat[i] = u[i] * ((value - affine.mean) * rstd);
    }
    sum.first += reduce_run<Sum<T>>(size, [&](int64_t i) { return u[i]; });
    sum.second += reduce_run<Sum<T>>(size, [&](int64_t i) { return u_xhat[i]; });
  }
  return sum;
}

template <class X, class T>
void write_gradient_run(const X* x, const X* dy, int64_t n, Affine<T> affine, T rstd, T slope, T mean_u, T mean_u_xhat,
                        X* dx) {
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const T u = affine(x[i]) > 0 ? dy[i] : slope * dy[i];
    dx[i] = static_cast<X>(affine.scale * (u - mean_u - (x[i] - affine.mean) * rstd * mean_u_xhat));
  }
}

void norm_backward(const Groups& groups, const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                   const Tensor& rstd, const Tensor& dy, const NormParams& params, Tensor& dx, Tensor& dgamma,
                   Tensor& dbeta) {
  dispatch_stored(x.dtype(), "norm_backward", [&]<class X>(X) {
    using T = Computed<X>;
    const X *from = x.data<X>(), *grad = dy.data<X>();
    X* to = dx.data<X>();
    const T slope = static_cast<T>(params.activation_slope);
    const Chunks chunks{groups};
    std::vector<SumPair> sums(static_cast<size_t>(groups.count));  // sum(u), sum(u * xhat)
    chunks.for_each_group<SumPair>([&](int64_t g, SumPair* partial) {
      const T r = rstd.data<T>()[g];
      const auto affine = affine_of(gamma, beta, mean.data<T>()[g], r, g % groups.channels);
      chunks.for_each(g, [&](int64_t first, int64_t n, int64_t c) {
        partial[c] = gradient_sums(from + first, grad + first, n, affine, r, slope);
      });
      const SumPair sum = total(partial, groups.segments * chunks.per_segment);
      sums[static_cast<size_t>(g)] = sum;
      const T mean_u = static_cast<T>(sum.first / groups.size()),
              mean_u_xhat = static_cast<T>(sum.second / groups.size());
      chunks.for_each(g, [&](int64_t first, int64_t n, int64_t) {
        write_gradient_run(from + first, grad + first, n, affine, r, slope, mean_u, mean_u_xhat, to + first);
      });
    });
    sum_groups<T>(
        groups, [&](int64_t g) { return sums[static_cast<size_t>(g)].second; }, dgamma);
    sum_groups<T>(
        groups, [&](int64_t g) { return sums[static_cast<size_t>(g)].first; }, dbeta);
  });
}

void add_chunked(Groups (*groups)(const Tensor&), KernelSlot<NormForwardFn>& forward,
                 KernelSlot<NormBackwardFn>& backward) {
  forward.add(
      Device::cpu, "chunked",
      [groups](const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& p, Tensor& y, Tensor& mean,
               Tensor& rstd) { norm_forward(groups(x), x, gamma, beta, p, y, mean, rstd); },
      {}, {.bf16 = true});
  backward.add(
      Device::cpu, "chunked",
      [groups](const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& rstd,
               const Tensor& dy, const NormParams& p, Tensor& dx, Tensor& dgamma,
               Tensor& dbeta) { norm_backward(groups(x), x, gamma, beta, mean, rstd, dy, p, dx, dgamma, dbeta); },
      {}, {.bf16 = true});
}

}  // namespace

void instance_norm_in_place(const Tensor& gamma, const Tensor& beta, const NormParams& params, Tensor& y, Tensor& mean,
                            Tensor& rstd) {
  norm_forward(instance_groups(y), y, gamma, beta, params, y, mean, rstd);
}

void register_norm() {
  add_chunked(instance_groups, kernels::instance_norm_forward, kernels::instance_norm_backward);
  add_chunked(batch_groups, kernels::batch_norm_forward, kernels::batch_norm_backward);
}

}  // namespace asap::cpu
