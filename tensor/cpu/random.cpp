// Uniform and normal random numbers: the elements of ../random_elements.h, which the CUDA backend computes too.
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"
#include "tensor/random_elements.h"

namespace asap::cpu {
namespace {

void uniform_naive(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_uniform", [&](auto zero) {
    using T = decltype(zero);
    T* to = y.data<T>();
    for (int64_t i = 0; i < y.numel(); ++i) to[i] = uniform_element<T>(params, static_cast<uint64_t>(i));
  });
}
void normal_naive(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_normal", [&](auto zero) {
    using T = decltype(zero);
    T* to = y.data<T>();
    for (int64_t i = 0; i < y.numel(); ++i) to[i] = normal_element<T>(params, static_cast<uint64_t>(i));
  });
}

constexpr int64_t kGrain = 4096;

void uniform_parallel(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_uniform", [&](auto zero) {
    using T = decltype(zero);
    T* to = y.data<T>();
    parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = uniform_element<T>(params, static_cast<uint64_t>(i));
    });
  });
}
void normal_parallel(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_normal", [&](auto zero) {
    using T = decltype(zero);
    T* to = y.data<T>();
    parallel_for(y.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = normal_element<T>(params, static_cast<uint64_t>(i));
    });
  });
}

}  // namespace

void register_random() {
  kernels::random_uniform.add(Device::cpu, "parallel", uniform_parallel);
  kernels::random_uniform.add(Device::cpu, "naive", uniform_naive);
  kernels::random_normal.add(Device::cpu, "parallel", normal_parallel);
  kernels::random_normal.add(Device::cpu, "naive", normal_naive);
}

}  // namespace asap::cpu
