// Packing: copies a block of a matrix into a panel, the order in which the micro kernel reads it: [k][width], one step
// of k after the other. Panels of a are Simd::rows wide, panels of b Simd::columns. Next: matmul_block.h.
#if defined(ASAP_CPU_MATMUL_PACK_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_MATMUL_PACK_H
#undef ASAP_CPU_MATMUL_PACK_H
#else
#define ASAP_CPU_MATMUL_PACK_H
#endif

#include <algorithm>

#include "tensor/cpu/matmul_micro.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// Transposes lanes x lanes elements held in vectors, in log2(lanes) rounds: round s swaps the off-diagonal s x s blocks.
template <class T, int s = 1>
inline void transpose_lanes(Vec<T> (&v)[Simd<T>::lanes]) {
  constexpr int lanes = Simd<T>::lanes;
  if constexpr (s < lanes) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes; ++i) {
      if (i & s) continue;
      const Vec<T> p = v[i], q = v[i + s];
      v[i] = shuffle<T>(p, q, [](int lane) { return (lane & s) ? lanes + lane - s : lane; });
      v[i + s] = shuffle<T>(p, q, [](int lane) { return (lane & s) ? lanes + lane : lane + s; });
    }
    transpose_lanes<T, 2 * s>(v);
  }
}

// out[k][i] = from[i][k] for i < count, k < length; from's rows are `ld` apart. Lanes beyond `count` become 0.
template <class T>
void pack_transposed(const T* from, int64_t ld, int64_t count, int64_t length, int64_t width, T* out) {
  constexpr int lanes = Simd<T>::lanes;
  for (int64_t i0 = 0; i0 < width; i0 += lanes) {
    int64_t k = 0;
    for (; k + lanes <= length; k += lanes) {
      Vec<T> v[lanes];
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) v[i] = i0 + i < count ? load(from + (i0 + i) * ld + k) : Vec<T>{};
      transpose_lanes<T>(v);
#pragma GCC unroll 16
      for (int i = 0; i < lanes; ++i) store<T>(out + (k + i) * width + i0, v[i]);
    }
    for (; k < length; ++k) {
      for (int64_t i = i0; i < i0 + lanes; ++i) out[k * width + i] = i < count ? from[i * ld + k] : T(0);
    }
  }
}

// As pack_transposed, for rows of less than a vector or so, always in whole vectors: writes `length` rounded up to
// lanes steps of k, and reads as far, from a copy where that would pass `end`.
template <class T>
void pack_short_rows(const T* from, int64_t ld, int64_t count, int64_t length, int64_t width, const T* end, T* out) {
  constexpr int lanes = Simd<T>::lanes;
  const int64_t rounded = (length + lanes - 1) / lanes * lanes;
  if (from + (count - 1) * ld + rounded <= end) return pack_transposed(from, ld, count, rounded, width, out);
  for (int64_t k = 0; k < rounded; ++k) {
    for (int64_t i = 0; i < width; ++i) out[k * width + i] = i < count && k < length ? from[i * ld + k] : T(0);
  }
}

// out[k][i] = from[k][i] for i < count, k < length. Lanes beyond `count` become 0.
template <class T>
void pack_copied(const T* from, int64_t ld, int64_t count, int64_t length, int64_t width, T* out) {
  constexpr int lanes = Simd<T>::lanes;
  for (int64_t k = 0; k < length; ++k, from += ld, out += width) {
    if (count == width) {
      for (int64_t i = 0; i < width; i += lanes) store<T>(out + i, load(from + i));
    } else {
      for (int64_t i = 0; i < width; ++i) out[i] = i < count ? from[i] : T(0);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
