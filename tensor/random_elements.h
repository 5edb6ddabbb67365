// One element of a random tensor from its Philox block: the definition of random_uniform and random_normal on both
// backends (constexpr, so that nvcc takes it into kernels too). Element i is a function of seed and offset + i alone: one
// block an element spends bits to keep it so simple that threads and devices cannot disagree.
// Used by cpu/random.cpp and the CUDA backend's random.cu.
#pragma once

#include <cmath>
#include <numbers>

#include "tensor/kernels.h"
#include "tensor/random.h"

namespace asap {

// The 53 high bits of two words, in [0, 1).
constexpr double unit_interval(uint32_t high, uint32_t low) {
  return static_cast<double>(((uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}

// In [a, b): f64 takes 53 bits of the block, f32 24. The sum is one fma, the same on every machine; where rounding it to
// T reaches b, it is the value just below.
template <class T>
constexpr T uniform_element(const RandomParams& params, uint64_t i) {
  const auto block = philox4x32(params.seed, params.offset + i);
  const double u = sizeof(T) == 4 ? (block[0] >> 8) * 0x1p-24 : unit_interval(block[0], block[1]);
  const T value = static_cast<T>(std::fma(u, params.b - params.a, params.a));
  const T bound = static_cast<T>(params.b);
  return params.a < params.b && value >= bound ? std::nextafter(bound, static_cast<T>(params.a)) : value;
}

// Box and Muller (1958), in double: sqrt(-2 ln u) cos(2 pi w) with u in (0, 1].
template <class T>
constexpr T normal_element(const RandomParams& params, uint64_t i) {
  const auto block = philox4x32(params.seed, params.offset + i);
  const double u = unit_interval(block[0], block[1]) + 0x1p-53, w = unit_interval(block[2], block[3]);
  return static_cast<T>(std::fma(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * w), params.b, params.a));
}

}  // namespace asap
