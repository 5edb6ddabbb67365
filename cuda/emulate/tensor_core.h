// The sum that a tensor core forms, under emulation: behind mma of ../mma.cuh and wgmma of ../hopper.cuh.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

#include "cuda/emulate/options.h"

namespace asap::emulate {

// start and the products of one dot product, added in double and rounded once. With ASAP_EMULATE_SUMS=truncate as an A100 was
// found to do it (Fasi, Higham, Mikaitis, Pranesh 2021, "Numerical behavior of NVIDIA tensor cores"), half of them at a
// time: all are aligned to the largest exponent and cut off one bit behind a float's last, and their exact sum is cut off
// to a float.
template <size_t K>
float tensor_core_sum(float start, const std::array<double, K>& products) {
  double sum = start;
  for (const double product : products) sum += product;
  if (!options().sums_truncated || !std::isfinite(sum)) return static_cast<float>(sum);
  sum = start;
  for (size_t first = 0; first < K; first += K / 2) {
    double largest = std::abs(sum);
    for (size_t k = first; k < first + K / 2; ++k) largest = std::fmax(largest, std::abs(products[k]));
    if (largest == 0) continue;
    const double unit = std::ldexp(1.0, std::ilogb(largest) - 24);
    double units = std::trunc(sum / unit);
    for (size_t k = first; k < first + K / 2; ++k) units += std::trunc(products[k] / unit);
    const auto nearest = static_cast<float>(sum = units * unit);
    sum = std::abs(nearest) > std::abs(sum) ? std::nextafter(nearest, 0.0f) : nearest;
  }
  return static_cast<float>(sum);
}

}  // namespace asap::emulate
