// Uniform and normal random numbers. Element i is a function of seed and offset + i alone: one Philox block an element spends
// bits to keep it so simple that threads and devices cannot disagree. Contract: kernels.h. Next: elementwise.h.
#pragma once

#include <cmath>
#include <numbers>

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"
#include "tensor/random.h"

namespace asap::definitions {

// The 53 high bits of two words, in [0, 1).
constexpr double unit_interval(uint32_t high, uint32_t low) {
  return static_cast<double>(((uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}

// The sum is one fma, the same on every machine; where rounding it to T reaches b, it is the value just below.
template <class T>
[[gnu::always_inline]] constexpr double below(double u, const RandomParams& p) {
  const T value = static_cast<T>(std::fma(u, p.b - p.a, p.a)), bound = static_cast<T>(p.b);
  return p.a < p.b && value >= bound ? std::nextafter(bound, static_cast<T>(p.a)) : value;
}

// In [a, b): f64 takes 53 bits of the block, f32 24; bf16 is the f32 rounded, which may reach b.
// Inlined, as Normal, it becomes the instructions of a fast variant's loop (cpu/targets.h).
struct Uniform {
  RandomParams p;
  bool wide;  // f64
  [[gnu::always_inline]] ASAP_HOST_DEVICE inline double operator()(int64_t i) const {
    const auto block = philox4x32(p.seed, p.offset + static_cast<uint64_t>(i));
    return wide ? below<double>(unit_interval(block[0], block[1]), p) : below<float>((block[0] >> 8) * 0x1p-24, p);
  }
};

// Box and Muller (1958): sqrt(-2 ln u) cos(2 pi w) with u in (0, 1].
struct Normal {
  RandomParams p;
  [[gnu::always_inline]] ASAP_HOST_DEVICE inline double operator()(int64_t i) const {
    const auto block = philox4x32(p.seed, p.offset + static_cast<uint64_t>(i));
    const double u = unit_interval(block[0], block[1]) + 0x1p-53, w = unit_interval(block[2], block[3]);
    return std::fma(std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * w), p.b, p.a);
  }
};

template <class Run>
void add_random(Device device) {
  kernels::random_uniform.add_definition(device, [](const RandomParams& p, Tensor& y) {
    Run::each(y, Uniform{p, y.dtype() == DType::f64});
  });
  kernels::random_normal.add_definition(device, [](const RandomParams& p, Tensor& y) { Run::each(y, Normal{p}); });
}

}  // namespace asap::definitions
