// Division by a number that is fixed while a kernel runs.
#pragma once

#include "cuda/common.cuh"

namespace asap::cuda {

// Quotients of 0 <= n < 2^31: a multiplication and a shift (Granlund & Montgomery, PLDI 1994, figure 4.1).
struct Divisor {
  unsigned value = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  __host__ __device__ explicit Divisor(int64_t divisor) : value(static_cast<unsigned>(divisor)) {
    while ((uint64_t{1} << shift) < value) ++shift;
    multiplier = static_cast<unsigned>((((uint64_t{1} << shift) - value) << 32) / value + 1);
  }
  __device__ __forceinline__ unsigned quotient(unsigned n) const { return (__umulhi(n, multiplier) + n) >> shift; }
  // n becomes its remainder.
  __device__ __forceinline__ int divide(int& n) const {
    const auto q = static_cast<int>(quotient(static_cast<unsigned>(n)));
    n -= q * static_cast<int>(value);
    return q;
  }
};

}  // namespace asap::cuda
