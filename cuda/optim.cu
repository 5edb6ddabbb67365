// Optimiser steps, in place: Adam (Kingma & Ba 2015, algorithm 1) and SGD with momentum, weight decay added to the
// gradient. `many` steps up to 96 parameters in one launch. Threads take 16 bytes at a time.
// Next: strided.cuh for Vector.
#include <algorithm>
#include <limits>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"

namespace asap::cuda {
namespace {

AdamState* state_of(const Tensor& state) { return static_cast<AdamState*>(state.raw()); }

// The floor of Adam is 28 bytes an element: four arrays read, three written. Without m, where beta1 = 0, it is 20.

using Four = Vector<float, 4>;

bool is_counted_f32(const Tensor& x) {
  return x.dtype() == DType::f32 && x.numel() <= std::numeric_limits<int32_t>::max();
}
template <class... Pointers>
__device__ __forceinline__ bool all_aligned(Pointers... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) % sizeof(Four)) == 0;
}

struct AdamNumbers {
  float beta1, one_less_beta1, beta2, one_less_beta2, eps, decay;
};
AdamNumbers numbers_of(const AdamParams& p) {
  return {.beta1 = static_cast<float>(p.beta1),
          .one_less_beta1 = static_cast<float>(1 - p.beta1),
          .beta2 = static_cast<float>(p.beta2),
          .one_less_beta2 = static_cast<float>(1 - p.beta2),
          .eps = static_cast<float>(p.eps),
          .decay = static_cast<float>(p.weight_decay)};
}

// Without Momentum m is only a name for the gradient.
template <bool Momentum>
__device__ __forceinline__ void adam_element(float grad, const AdamNumbers& a, float rate, float scale, float& param,
                                             float& m, float& v) {
  const float g = grad + a.decay * param;
  m = Momentum ? a.beta1 * m + a.one_less_beta1 * g : g;
  v = a.beta2 * v + a.one_less_beta2 * g * g;
  param -= rate * (m / (sqrtf(v) * scale + a.eps));
}

// many: a launch steps the parameters of a list, which travels in the launch's own arguments (4 KB at most). A block takes
// kChunk elements of one of them, so that many small parameters and one large one keep the card equally busy.
constexpr int kListed = 96, kChunk = 8192;
struct AdamList {
  const float* grad[kListed];
  float *param[kListed], *m[kListed], *v[kListed];
  int size[kListed], first_block[kListed];
  int count = 0, blocks = 0;
};
static_assert(sizeof(AdamList) + sizeof(AdamNumbers) + sizeof(AdamState*) <= 4096);

template <bool Momentum>
__global__ void __launch_bounds__(kBlock)
    adam_many_kernel(const __grid_constant__ AdamList list, AdamNumbers a, const AdamState* state) {
  if (state->goes == 0) return;
  const float rate = static_cast<float>(state->rate), scale = static_cast<float>(state->scale);
  const int block = static_cast<int>(blockIdx.x);
  int i = 0, end = list.count;  // the last parameter whose first block is not behind this one
  while (end - i > 1) {
    const int middle = (i + end) / 2;
    (list.first_block[middle] <= block ? i : end) = middle;
  }
  const int begin = (block - list.first_block[i]) * kChunk, count = min(kChunk, list.size[i] - begin);
  const float* grad = list.grad[i] + begin;
  float *param = list.param[i] + begin, *m = Momentum ? list.m[i] + begin : nullptr, *v = list.v[i] + begin;
  const int fours = all_aligned(grad, param, m, v) ? count / 4 : 0;
  for (int k = static_cast<int>(threadIdx.x); k < fours; k += kBlock) {
    const Four g = reinterpret_cast<const Four*>(grad)[k];
    Four p = reinterpret_cast<Four*>(param)[k], mean = {}, square = reinterpret_cast<Four*>(v)[k];
    if (Momentum) mean = reinterpret_cast<Four*>(m)[k];
#pragma unroll
    for (int j = 0; j < 4; ++j) adam_element<Momentum>(g.v[j], a, rate, scale, p.v[j], mean.v[j], square.v[j]);
    reinterpret_cast<Four*>(param)[k] = p;
    if (Momentum) reinterpret_cast<Four*>(m)[k] = mean;
    reinterpret_cast<Four*>(v)[k] = square;
  }
  for (int k = 4 * fours + static_cast<int>(threadIdx.x); k < count; k += kBlock) {
    float mean = Momentum ? m[k] : 0.0f;
    adam_element<Momentum>(grad[k], a, rate, scale, param[k], mean, v[k]);
    if (Momentum) m[k] = mean;
  }
}

void adam_many(std::span<const Tensor> grads, const AdamParams& params, const Tensor& state, std::span<Tensor> values,
               std::span<Tensor> m, std::span<Tensor> v) {
  const AdamNumbers numbers = numbers_of(params);
  const bool momentum = params.beta1 != 0;
  AdamList list;
  const auto flush = [&] {
    if (list.blocks > 0)
      launch(momentum ? adam_many_kernel<true> : adam_many_kernel<false>, {static_cast<unsigned>(list.blocks), kBlock},
             list, numbers, state_of(state));
    list.count = list.blocks = 0;
  };
  for (size_t i = 0; i < grads.size(); ++i) {
    if (values[i].numel() == 0) continue;
    const int k = list.count++;
    list.grad[k] = grads[i].data<float>();
    list.param[k] = values[i].data<float>();
    list.m[k] = momentum ? m[i].data<float>() : nullptr;
    list.v[k] = v[i].data<float>();
    list.size[k] = static_cast<int>(values[i].numel());
    list.first_block[k] = list.blocks;
    list.blocks += static_cast<int>(ceil_div(list.size[k], kChunk));
    if (list.count == kListed) flush();
  }
  flush();
}

struct SgdNumbers {
  float rate, decay, momentum, ahead, fresh;  // the step is ahead * velocity + fresh * gradient
};
__device__ __forceinline__ void sgd_element(float grad, const SgdNumbers& a, float& param, float& velocity) {
  const float g = grad + a.decay * param;
  velocity = a.momentum * velocity + g;
  param -= a.rate * (a.ahead * velocity + a.fresh * g);
}

// Without Momentum the velocity is only a name for the gradient.
template <bool Momentum>
__global__ void sgd_vectorized_kernel(const float* grad, int count, SgdNumbers a, float* param, float* velocity) {
  const int fours = all_aligned(grad, param, velocity) ? count / 4 : 0;
  for_each_index(fours, [&](int64_t k) {
    const Four g = reinterpret_cast<const Four*>(grad)[k];
    Four p = reinterpret_cast<Four*>(param)[k], speed = {};
    if (Momentum) speed = reinterpret_cast<Four*>(velocity)[k];
#pragma unroll
    for (int j = 0; j < 4; ++j) sgd_element(g.v[j], a, p.v[j], speed.v[j]);
    reinterpret_cast<Four*>(param)[k] = p;
    if (Momentum) reinterpret_cast<Four*>(velocity)[k] = speed;
  });
  for_each_index(count - 4 * fours, [&](int64_t j) {
    const int64_t k = 4 * fours + j;
    float speed = Momentum ? velocity[k] : 0.0f;
    sgd_element(grad[k], a, param[k], speed);
    if (Momentum) velocity[k] = speed;
  });
}

void sgd_vectorized(const Tensor& grad, const SgdParams& params, Tensor& param, Tensor& velocity) {
  const bool momentum = params.momentum != 0;
  const SgdNumbers numbers{.rate = static_cast<float>(params.lr),
                           .decay = static_cast<float>(params.weight_decay),
                           .momentum = static_cast<float>(params.momentum),
                           .ahead = params.nesterov ? static_cast<float>(params.momentum) : 1.0f,
                           .fresh = params.nesterov ? 1.0f : 0.0f};
  launch(momentum ? sgd_vectorized_kernel<true> : sgd_vectorized_kernel<false>, {blocks_for(param.numel(), 4), kBlock},
         grad.data<float>(), static_cast<int>(param.numel()), numbers, param.data<float>(),
         momentum ? velocity.data<float>() : nullptr);
}

}  // namespace

void register_optim() {
  kernels::adam.add(
      Device::cuda, "many", adam_many,
      [](std::span<const Tensor>, const AdamParams&, const Tensor&, std::span<Tensor> values, std::span<Tensor>,
         std::span<Tensor>) { return std::all_of(values.begin(), values.end(), is_counted_f32); });
  kernels::sgd.add(
      Device::cuda, "vectorized", sgd_vectorized,
      [](const Tensor& grad, const SgdParams&, const Tensor&, const Tensor&) { return is_counted_f32(grad); });
}

}  // namespace asap::cuda
