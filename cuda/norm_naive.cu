// Instance and batch norm with a fused LeakyReLU: the definition, sums in f64 as on the CPU. A block adds up a group; then
// one thread an element. Next: norm.cu, norm_backward.cu.
#include "cuda/norm.cuh"

namespace asap::cuda {
namespace {

// Block g: the sum of f(element) over group g.
template <class F>
__device__ double group_sum(const Groups& groups, F&& f) {
  double sum = 0;
  for (int64_t k = threadIdx.x; k < groups.size(); k += blockDim.x) sum += f(groups.offset(blockIdx.x, k));
  return block_reduce(sum, 0.0);
}

template <class T>
__global__ void norm_statistics_kernel(const T* x, Groups groups, double eps, T* mean, T* rstd) {
  const double size = static_cast<double>(groups.size());
  const double average = group_sum(groups, [=](int64_t i) { return static_cast<double>(x[i]); }) / size;
  const double squares = group_sum(groups, [=](int64_t i) { return (x[i] - average) * (x[i] - average); });
  if (threadIdx.x != 0) return;
  mean[blockIdx.x] = static_cast<T>(average);
  rstd[blockIdx.x] = static_cast<T>(1 / std::sqrt(squares / size + eps));
}

template <class T>
__global__ void norm_forward_kernel(const T* x, const T* gamma, const T* beta, const T* mean, const T* rstd,
                                    Groups groups, T slope, int64_t count, T* y) {
  for_each_index(count, [=](int64_t i) {
    const int64_t g = i / groups.length % groups.count;
    const T v = ScaleShift<T>(gamma, beta, groups.channel(g)).affine(mean[g], rstd[g])(x[i]);
    y[i] = v > 0 ? v : slope * v;
  });
}

// sums[g] = sum of u, sums[count + g] = sum of u * xhat, with xhat = (x - mean) * rstd and u = act'(.) * dy.
template <class T>
__global__ void norm_gradient_sums_kernel(const T* x, const T* gamma, const T* beta, const T* mean, const T* rstd,
                                          const T* dy, Groups groups, T slope, double* sums) {
  const int64_t g = blockIdx.x;
  const auto affine = ScaleShift<T>(gamma, beta, groups.channel(g)).affine(mean[g], rstd[g]);
  const T r = rstd[g];
  const auto u = [=](int64_t i) { return static_cast<double>(affine(x[i]) > 0 ? dy[i] : slope * dy[i]); };
  const double sum_u = group_sum(groups, u);
  const double sum_u_xhat = group_sum(groups, [=](int64_t i) { return u(i) * ((x[i] - affine.mean) * r); });
  if (threadIdx.x != 0) return;
  sums[g] = sum_u;
  sums[groups.count + g] = sum_u_xhat;
}

// dx = gamma * rstd * (u - mean(u) - xhat * mean(u * xhat)).
template <class T>
__global__ void norm_backward_kernel(const T* x, const T* gamma, const T* beta, const T* mean, const T* rstd,
                                     const T* dy, const double* sums, Groups groups, T slope, int64_t count, T* dx) {
  for_each_index(count, [=](int64_t i) {
    const int64_t g = i / groups.length % groups.count;
    const auto affine = ScaleShift<T>(gamma, beta, groups.channel(g)).affine(mean[g], rstd[g]);
    const double size = static_cast<double>(groups.size());
    const T u = affine(x[i]) > 0 ? dy[i] : slope * dy[i], xhat = (x[i] - mean[g]) * rstd[g];
    dx[i] = static_cast<T>(affine.scale * (u - sums[g] / size - xhat * (sums[groups.count + g] / size)));
  });
}

}  // namespace

void norm_forward_naive(const Groups& groups, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                        const NormParams& params, Tensor& y, Tensor& mean, Tensor& rstd) {
  dispatch_floating(x.dtype(), "norm", [&](auto tag) {
    using T = decltype(tag);
    T *m = mean.data<T>(), *r = rstd.data<T>();
    launch(norm_statistics_kernel<T>, {static_cast<unsigned>(groups.count), kBlock}, x.data<T>(), groups, params.eps, m,
           r);
    launch(norm_forward_kernel<T>, {blocks_for(x.numel()), kBlock}, x.data<T>(), data_or_null<T>(gamma),
           data_or_null<T>(beta), m, r, groups, static_cast<T>(params.activation_slope), x.numel(), y.data<T>());
  });
}

void norm_backward_naive(const Groups& groups, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                         const Tensor& mean, const Tensor& rstd, const Tensor& dy, const NormParams& params, Tensor& dx,
                         Tensor& dgamma, Tensor& dbeta) {
  dispatch_floating(x.dtype(), "norm_backward", [&](auto tag) {
    using T = decltype(tag);
    const T slope = static_cast<T>(params.activation_slope);
    const T *scale = data_or_null<T>(gamma), *shift = data_or_null<T>(beta), *m = mean.data<T>(), *r = rstd.data<T>();
    Tensor workspace = scratch(2 * groups.count, DType::f64);
    double* sums = workspace.data<double>();
    launch(norm_gradient_sums_kernel<T>, {static_cast<unsigned>(groups.count), kBlock}, x.data<T>(), scale, shift, m, r,
           dy.data<T>(), groups, slope, sums);
    launch(norm_backward_kernel<T>, {blocks_for(x.numel()), kBlock}, x.data<T>(), scale, shift, m, r, dy.data<T>(),
           sums, groups, slope, x.numel(), dx.data<T>());
    const auto parameter = [&](const double* from, Tensor& to) {
      if (to.defined())
        launch(norm_parameter_kernel<double, T>, {blocks_for(groups.channels), kBlock}, from, groups, to.data<T>());
    };
    parameter(sums + groups.count, dgamma);
    parameter(sums, dbeta);
  });
}

}  // namespace asap::cuda
