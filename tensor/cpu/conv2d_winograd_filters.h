// Filters as Winograd's transforms want them: each tap's weights of as many neighbours as a vector has lanes, from either layout.
// Per target (targets.h). Used by conv2d_winograd.cpp and conv2d_winograd_bf16.cpp.
#if defined(ASAP_CPU_CONV2D_WINOGRAD_FILTERS_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_CONV2D_WINOGRAD_FILTERS_H
#undef ASAP_CPU_CONV2D_WINOGRAD_FILTERS_H
#else
#define ASAP_CPU_CONV2D_WINOGRAD_FILTERS_H
#endif

#include "tensor/cpu/matmul_pack.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE::winograd {

// weights[tap] of Simd<float>::lanes filters that lie side by side. Those behind `end` are zeros.
template <class T, int taps>
[[gnu::always_inline]] inline void load_filters(const T* from, const T* end, Vec<float> (&weights)[taps]) {
  constexpr int64_t reads = taps * (Simd<float>::lanes - 1) + std::max<int64_t>(taps, Simd<float>::lanes);
  T copy[reads];
  if (end - from < reads) {
    std::fill(std::copy(from, end, copy), copy + reads, T());
    from = copy;
  }
  constexpr int each = std::min<int>(taps, Simd<float>::lanes), whole = taps / each;  // taps of a vector, vectors of a filter
#pragma GCC unroll 4
  for (int part = 0; part < whole; ++part) {
    Vec<float> v[Simd<float>::lanes];
#pragma GCC unroll 16
    for (int i = 0; i < Simd<float>::lanes; ++i) v[i] = load(from + i * taps + part * Simd<float>::lanes);
    transpose_lanes<float>(v);
#pragma GCC unroll 16
    for (int i = 0; i < each; ++i) weights[part * Simd<float>::lanes + i] = v[i];
  }
  if constexpr (whole * each < taps) {  // the ninth: 9 is one more than two vectors of 4 or one of 8
    Vec<float> ninth{};
#pragma GCC unroll 16
    for (int i = 0; i < Simd<float>::lanes; ++i) ninth[i] = static_cast<float>(from[i * taps + taps - 1]);
    weights[taps - 1] = ninth;
  }
}

// The same where filters are channels-last: a tap's weights lie side by side.
template <class T, int taps>
[[gnu::always_inline]] inline void load_taps(const T* from, const T* end, int64_t tap_step, Vec<float> (&weights)[taps]) {
  T copy[Simd<float>::lanes];
  const T* last = from + (taps - 1) * tap_step;
  if (end - last < Simd<float>::lanes) {
    std::fill(std::copy(last, end, copy), copy + Simd<float>::lanes, T());
    last = copy;
  }
#pragma GCC unroll 16
  for (int tap = 0; tap < taps - 1; ++tap) weights[tap] = load(from + tap * tap_step);
  weights[taps - 1] = load(last);
}

// Either of them; what lies `next` elements on is fetched meanwhile. Nothing is read from `end` on.
template <class T, int taps>
[[gnu::always_inline]] inline void load_weights(const T* from, const T* end, int64_t tap_step, int64_t next, Vec<float> (&weights)[taps]) {
  if (tap_step == 1) {
    constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < taps * Simd<float>::lanes; i += line) __builtin_prefetch(from + next + i);
    load_filters(from, end, weights);
  } else {
    for (int64_t tap = 0; tap < taps; ++tap) __builtin_prefetch(from + next + tap * tap_step);
    load_taps(from, end, tap_step, weights);
  }
}

}  // namespace HWY_NAMESPACE::winograd
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
