// Optimiser steps, in place: Adam (Kingma & Ba 2015, algorithm 1) and SGD with momentum, weight decay added to the
// gradient, in one pass over memory, which is all the time it takes.
#include <cmath>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // below it a second thread costs more than it brings

// The arrays of a step are different tensors, which __restrict tells the compiler.
// Without Momentum m is null.
template <bool Momentum, class T>
void adam_run(const T* __restrict grad, const AdamParams& params, const AdamState& state, T* __restrict param,
              T* __restrict m, T* __restrict v, int64_t count) {
  const T beta1 = static_cast<T>(params.beta1), one_less_beta1 = static_cast<T>(1 - params.beta1);
  const T beta2 = static_cast<T>(params.beta2), one_less_beta2 = static_cast<T>(1 - params.beta2);
  const T rate = static_cast<T>(state.rate), scale = static_cast<T>(state.scale);
  const T eps = static_cast<T>(params.eps), decay = static_cast<T>(params.weight_decay);
  for (int64_t i = 0; i < count; ++i) {
    const T g = grad[i] + decay * param[i];
    const T mean = Momentum ? beta1 * m[i] + one_less_beta1 * g : g;
    const T square = beta2 * v[i] + one_less_beta2 * g * g;
    if (Momentum) m[i] = mean;
    v[i] = square;
    param[i] -= rate * (mean / (std::sqrt(square) * scale + eps));
  }
}

void adam_one(const Tensor& grad, const AdamParams& params, const AdamState& state, Tensor& param, Tensor& m, Tensor& v) {
  dispatch_floating(param.dtype(), "adam", [&](auto zero) {
    using T = decltype(zero);
    const T* g = grad.data<T>();
    T *p = param.data<T>(), *mean = params.beta1 != 0 ? m.data<T>() : nullptr, *square = v.data<T>();
    parallel_for(param.numel(), kGrain, [&](int64_t begin, int64_t end) {
      if (mean) {
        adam_run<true>(g + begin, params, state, p + begin, mean + begin, square + begin, end - begin);
      } else {
        adam_run<false, T>(g + begin, params, state, p + begin, nullptr, square + begin, end - begin);
      }
    });
  });
}

// A core works through one parameter after the other; only devices gain by taking them together.
void adam_vectorized(std::span<const Tensor> grads, const AdamParams& params, const Tensor& state,
                     std::span<Tensor> values, std::span<Tensor> m, std::span<Tensor> v) {
  const AdamState& now = *static_cast<const AdamState*>(state.raw());
  if (now.goes == 0) return;
  for (size_t i = 0; i < grads.size(); ++i) adam_one(grads[i], params, now, values[i], m[i], v[i]);
}

template <class T>
void sgd_run(const T* __restrict grad, const SgdParams& params, T* __restrict param, int64_t count) {
  const T rate = static_cast<T>(params.lr), decay = static_cast<T>(params.weight_decay);
  for (int64_t i = 0; i < count; ++i) param[i] -= rate * (grad[i] + decay * param[i]);
}
template <class T>
void momentum_run(const T* __restrict grad, const SgdParams& params, T* __restrict param, T* __restrict velocity,
                  int64_t count) {
  const T rate = static_cast<T>(params.lr), decay = static_cast<T>(params.weight_decay);
  const T momentum = static_cast<T>(params.momentum);
  const T ahead = params.nesterov ? momentum : T{1}, fresh = params.nesterov ? T{1} : T{0};
  for (int64_t i = 0; i < count; ++i) {
    const T g = grad[i] + decay * param[i];
    const T speed = momentum * velocity[i] + g;
    velocity[i] = speed;
    param[i] -= rate * (ahead * speed + fresh * g);
  }
}

void sgd_vectorized(const Tensor& grad, const SgdParams& params, Tensor& param, Tensor& velocity) {
  dispatch_floating(param.dtype(), "sgd", [&](auto zero) {
    using T = decltype(zero);
    const T* g = grad.data<T>();
    T *p = param.data<T>(), *speed = params.momentum != 0 ? velocity.data<T>() : nullptr;
    parallel_for(param.numel(), kGrain, [&](int64_t begin, int64_t end) {
      if (speed) {
        momentum_run(g + begin, params, p + begin, speed + begin, end - begin);
      } else {
        sgd_run(g + begin, params, p + begin, end - begin);
      }
    });
  });
}

}  // namespace

void register_optim() {
  kernels::adam.add(Device::cpu, "vectorized", adam_vectorized,
                    [](std::span<const Tensor>, const AdamParams&, const Tensor&, std::span<Tensor> values,
                       std::span<Tensor>, std::span<Tensor>) { return values[0].dtype() != DType::bf16; });
  kernels::sgd.add(Device::cpu, "vectorized", sgd_vectorized);
}

}  // namespace asap::cpu
