// What a value of the networks becomes in an 8-bit picture. constexpr, so that nvcc takes it into kernels too.
#pragma once

#include <cstdint>

namespace asap {

// v in [-1,1] -> (v + 1) / 2 * 255, clipped, the fraction cut off; a NaN becomes 0.
template <class T>
[[gnu::always_inline]] constexpr uint8_t picture_value(T v) {
  const T scaled = (v + 1) / 2 * 255;
  return static_cast<uint8_t>(scaled > 0 ? (scaled < 255 ? scaled : T(255)) : T(0));
}

}  // namespace asap
