// exp, tanh, sigmoid and erf in float without branches, so that loops over them vectorise. Argument reduction
// as in Muller, "Elementary Functions" (2016), ch. 11; polynomials are minimax fits (relative error below 5e-9).
// Largest errors found, in units in the last place: see tests/test_tensor.cpp. double versions are the standard ones.
#if defined(ASAP_CPU_VECTOR_MATH_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_VECTOR_MATH_H
#undef ASAP_CPU_VECTOR_MATH_H
#else
#define ASAP_CPU_VECTOR_MATH_H
#endif

#include <bit>
#include <cmath>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE::vector_math {

inline constexpr float kLn2High = 0.693115234f, kLn2Low = 3.19461833e-05f;  // high * any exponent is exact

// c0 + x * (c1 + x * (c2 + ...))
inline float polynomial(float, float c0) { return c0; }
template <class... C>
float polynomial(float x, float c0, C... rest) {
  return c0 + x * polynomial(x, rest...);
}

// x = n * ln 2 + r, |r| <= ln 2 / 2; exp(x) = 2^n exp(r). 2^n is applied in two halves, so that results down to the
// smallest subnormal and up to infinity come out right.
inline float exp(float x) {
  const float bounded = x < -105.0f ? -105.0f : x > 89.0f ? 89.0f : x;  // NaN passes
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
  const float shifted = bounded * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * kLn2High) - n * kLn2Low;
  const float p = polynomial(r, 0.49999994f, 0.166665152f, 0.041668456f, 0.00836941879f, 0.00138131448f);
  const float exp_r = 1.0f + (r + r * r * p);
  const int32_t whole = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const int32_t half = whole >> 1;
  const float scale1 = std::bit_cast<float>((half + 127) << 23),
              scale2 = std::bit_cast<float>((whole - half + 127) << 23);
  return exp_r * scale1 * scale2;
}

// Odd polynomial near 0, where 1 - 2 / (exp(2|x|) + 1) would cancel.
inline float tanh(float x) {
  const float magnitude = std::abs(x), z = x * x;
  const float p = polynomial(z, -0.333332807f, 0.133314401f, -0.0537395254f, 0.0206384342f, -0.00570422597f);
  const float far = std::copysign(1.0f - 2.0f / (exp(2.0f * magnitude) + 1.0f), x);
  return magnitude < 0.625f ? x + x * z * p : far;
}

inline float sigmoid(float x) {
  const float e = exp(-std::abs(x));
  return (x >= 0 ? 1.0f : e) / (1.0f + e);
}

// Odd polynomial near 0; beyond, 1 - exp(-x q(x)) with q fitted to -log(1 - erf(x)) / x. From 4 on it rounds to 1.
inline float erf(float x) {
  const float magnitude = std::abs(x), z = x * x, bounded = magnitude > 4.0f ? 4.0f : magnitude;  // NaN passes
  const float p = polynomial(z, -0.376126362f, 0.11283727f, -0.0268610173f, 0.00520490554f, -0.000818595501f, 8.55220344e-05f);
  const float q = polynomial(bounded, 1.12851995f, 0.635699367f, 0.105286856f, -0.0229060324f, 0.00321997592f, -0.000214595077f);
  const float far = std::copysign(1.0f - exp(-bounded * q), x);
  return magnitude < 0.9f ? x + x * (0.128379167f + z * p) : far;
}

inline double exp(double x) { return std::exp(x); }

}  // namespace HWY_NAMESPACE::vector_math
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
