// Optimiser steps, in place: Adam (Kingma & Ba 2015, algorithm 1) and SGD with momentum, weight decay added to the
// gradient. `naive` is the definition in double, one launch a parameter.
#include <cmath>

#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// ---- naive ----------------------------------------------------------------------------------------------------------

// The corrections of step t: 1 - beta1^t, 1 - beta2^t.
template <class T>
__global__ void adam_kernel(const T* grad, int64_t count, AdamParams params, double correction1, double correction2,
                            T* param, T* m, T* v) {
  for_each_index(count, [&](int64_t i) {
    const double g = grad[i] + params.weight_decay * param[i];
    m[i] = static_cast<T>(params.beta1 * m[i] + (1 - params.beta1) * g);
    v[i] = static_cast<T>(params.beta2 * v[i] + (1 - params.beta2) * g * g);
    const double denominator = sqrt(static_cast<double>(v[i])) / sqrt(correction2) + params.eps;
    param[i] = static_cast<T>(param[i] - params.lr / correction1 * m[i] / denominator);
  });
}

// velocity is null without momentum.
template <class T>
__global__ void sgd_kernel(const T* grad, int64_t count, SgdParams params, T* param, T* velocity) {
  for_each_index(count, [&](int64_t i) {
    double g = grad[i] + params.weight_decay * param[i];
    if (velocity) {
      velocity[i] = static_cast<T>(params.momentum * velocity[i] + g);
      g = params.nesterov ? g + params.momentum * velocity[i] : static_cast<double>(velocity[i]);
    }
    param[i] = static_cast<T>(param[i] - params.lr * g);
  });
}

double correction(double beta, int64_t step) { return 1 - std::pow(beta, static_cast<double>(step)); }

void adam_naive(std::span<const Tensor> grads, const AdamParams& params, std::span<Tensor> values, std::span<Tensor> m,
                std::span<Tensor> v) {
  for (size_t i = 0; i < grads.size(); ++i) {
    dispatch_floating(values[i].dtype(), "adam", [&](auto tag) {
      using T = decltype(tag);
      launch(adam_kernel<T>, {blocks_for(values[i].numel()), kBlock}, grads[i].data<T>(), values[i].numel(), params,
             correction(params.beta1, params.step), correction(params.beta2, params.step), values[i].data<T>(),
             m[i].data<T>(), v[i].data<T>());
    });
  }
}

void sgd_naive(const Tensor& grad, const SgdParams& params, Tensor& param, Tensor& velocity) {
  dispatch_floating(param.dtype(), "sgd", [&](auto tag) {
    using T = decltype(tag);
    launch(sgd_kernel<T>, {blocks_for(param.numel()), kBlock}, grad.data<T>(), param.numel(), params, param.data<T>(),
           params.momentum != 0 ? velocity.data<T>() : nullptr);
  });
}

}  // namespace

void register_optim() {
  kernels::adam.add(Device::cuda, "naive", adam_naive);
  kernels::sgd.add(Device::cuda, "naive", sgd_naive);
}

}  // namespace asap::cuda
