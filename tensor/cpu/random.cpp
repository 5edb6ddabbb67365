// Uniform and normal random numbers from the counter-based Philox generator of ../random.h.
// Element i of a tensor is a function of the 128-bit block number offset + i alone: one block an element spends bits to
// keep it so simple that threads and devices cannot disagree.
#include <cmath>
#include <numbers>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"
#include "tensor/random.h"

namespace asap::cpu {
namespace {

// The 53 high bits of two words, in [0, 1).
double unit_interval(uint32_t high, uint32_t low) {
  return static_cast<double>(((uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}

// In [a, b): f64 takes 53 bits of the block, f32 24. The sum is one fma, the same on every machine; where rounding it to
// T reaches b, it is the value just below.
template <class T>
T uniform_element(const RandomParams& params, uint64_t i) {
  const auto block = philox4x32(params.seed, params.offset + i);
  const double u = sizeof(T) == 4 ? (block[0] >> 8) * 0x1p-24 : unit_interval(block[0], block[1]);
  const T value = static_cast<T>(std::fma(u, params.b - params.a, params.a));
  const T bound = static_cast<T>(params.b);
  return params.a < params.b && value >= bound ? std::nextafter(bound, static_cast<T>(params.a)) : value;
}

// Box and Muller (1958), in double: sqrt(-2 ln u) cos(2 pi w) with u in (0, 1].
template <class T>
T normal_element(const RandomParams& params, uint64_t i) {
  const auto block = philox4x32(params.seed, params.offset + i);
  const double u = unit_interval(block[0], block[1]) + 0x1p-53, w = unit_interval(block[2], block[3]);
  return static_cast<T>(std::fma(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * w), params.b, params.a));
}

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
