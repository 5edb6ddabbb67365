// bf16: float32 with the lower 16 bits of the significand cut off. Arithmetic converts to float; sums of
// bf16 numbers are carried in float or better and rounded once. Next: dtype.h.
#pragma once

#include <bit>
#include <cstdint>

namespace asap {

struct bf16 {
  uint16_t bits = 0;

  constexpr bf16() = default;
  // Rounds to nearest, ties to even; a NaN stays one.
  explicit constexpr bf16(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    const bool nan = (word & 0x7FFFFFFFu) > 0x7F800000u;
    bits = static_cast<uint16_t>(nan ? (word >> 16) | 0x40u : (word + 0x7FFFu + ((word >> 16) & 1u)) >> 16);
  }
  constexpr operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }
};

}  // namespace asap
