// Panels: the blocks that the fused per-tile MLP (tile_mlp_fused*.cpp) computes on, and their matrix products.
// A panel holds kPanel pixels of some channels as [channels][kPanel]: pixels lie in vector lanes, so rows of x and y load
// as they are, and a weight is broadcast as it is used: nothing is repacked.
// Vectors are GCC's (also clang's) vector extension, as wide as the instruction set that is compiled for.
#if defined(ASAP_CPU_TILE_MLP_PANELS_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_TILE_MLP_PANELS_H
#undef ASAP_CPU_TILE_MLP_PANELS_H
#else
#define ASAP_CPU_TILE_MLP_PANELS_H
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "tensor/cpu/transpose.h"
#include "tensor/cpu/vector_math.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE::panels {

// Register block: kRows channels x kVectors vectors of accumulators, beside kVectors loaded ones and a broadcast weight.
// 16 accumulators fill two FMA pipes of latency 4 twice over.
#if HWY_TARGET == HWY_AVX3
inline constexpr int kVectorBytes = 64, kRows = 8;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kVectorBytes = 32, kRows = 4;
#else
inline constexpr int kVectorBytes = 16, kRows = 4;
#endif
inline constexpr int kVectors = 2;

// An integer as large as T: which lane of a vector of T to take.
template <class T>
using Int = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
template <class T>
struct VectorTypes {
  typedef T Aligned __attribute__((vector_size(kVectorBytes)));
  typedef T Loose __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
  typedef Int<T> Integers __attribute__((vector_size(kVectorBytes)));
};
template <class T>
using Vec = typename VectorTypes<T>::Aligned;
template <class T>
using IntVec = typename VectorTypes<T>::Integers;
template <class T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));
template <class T>
inline constexpr int kPanel = kVectors * kLanes<T>;

template <class T>
inline Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename VectorTypes<T>::Loose*>(from);
}
template <class T>
inline void store(T* to, Vec<T> value) {
  *reinterpret_cast<typename VectorTypes<T>::Loose*>(to) = value;
}
// Lane i is lane lanes[i] of the table.
template <class T>
inline Vec<T> look_up(const Vec<T>& table, const IntVec<T>& lanes) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2  // one instruction
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<T> values;
  const hn::ScalableTag<Int<T>> integers;
  Vec<T> result;
  hn::StoreU(hn::TableLookupLanes(hn::LoadU(values, reinterpret_cast<const T*>(&table)),
                                  hn::IndicesFromVec(values, hn::LoadU(integers, reinterpret_cast<const Int<T>*>(&lanes)))),
             values, reinterpret_cast<T*>(&result));
#else
  Vec<T> result = {};
  for (int i = 0; i < kLanes<T>; ++i) result[i] = table[lanes[i]];
#endif
  return result;
}
inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Calls f(rows as integral_constant, first row) so that blocks of at most kMost rows cover 0..n-1.
template <int kMost, class F>
inline void row_blocks(int64_t n, const F& f) {
  int64_t row = 0;
  for (; row + kMost <= n; row += kMost) f(std::integral_constant<int, kMost>{}, row);
  const auto rest = [&]<int... kCounts>(std::integer_sequence<int, kCounts...>) {
    ((n - row == kCounts + 1 ? f(std::integral_constant<int, kCounts + 1>{}, row) : void()), ...);
  };
  rest(std::make_integer_sequence<int, kMost - 1>{});
}

// sums[m][n] += sum over k of weight(k, m) * z[k][n], z a panel. weight(k, m) is w[k * stride + m], or w[m * stride + k].
template <class T, int kM, bool kTransposed>
[[gnu::always_inline]] inline void multiply_add(const T* z, int64_t count, const T* w, int64_t stride,
                                                Vec<T> (&sums)[kM][kVectors]) {
  for (int64_t k = 0; k < count; ++k) {
    Vec<T> pixels[kVectors];
#pragma GCC unroll 16
    for (int n = 0; n < kVectors; ++n) pixels[n] = load(z + k * kPanel<T> + n * kLanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < kM; ++m) {
      const T weight = kTransposed ? w[m * stride + k] : w[k * stride + m];
#pragma GCC unroll 16
      for (int n = 0; n < kVectors; ++n) sums[m][n] += weight * pixels[n];
    }
  }
}

// y = f(start + z W): z [in][kPanel], W [in, out] row-major, y [out][kPanel]. start(o, n): vector n of what output o has
// beside the product; f maps a vector.
template <class T, class Start, class F>
inline void linear(const T* z, const T* weight, int64_t in, int64_t out, const Start& start, T* y, const F& f) {
  row_blocks<kRows>(out, [&](auto rows, int64_t o) {
    constexpr int kM = decltype(rows)::value;
    Vec<T> sums[kM][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kVectors; ++n) sums[m][n] = start(o + m, n);
    }
    multiply_add<T, kM, false>(z, in, weight + o, out, sums);
#pragma GCC unroll 16
    for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kVectors; ++n) store(y + (o + m) * kPanel<T> + n * kLanes<T>, f(sums[m][n]));
    }
  });
}

// dz = f(W dy, z) for the first `rows` of W's `in` rows: dy [out][kPanel], z and dz [rows][kPanel]; f maps two vectors.
template <class T, class F>
inline void linear_input_grad(const T* dy, const T* weight, int64_t rows_wanted, int64_t out, const T* z, T* dz, const F& f) {
  row_blocks<kRows>(rows_wanted, [&](auto rows, int64_t i) {
    constexpr int kM = decltype(rows)::value;
    Vec<T> sums[kM][kVectors] = {};
    multiply_add<T, kM, true>(dy, out, weight + i * out, out, sums);
#pragma GCC unroll 16
    for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 16
      for (int n = 0; n < kVectors; ++n) {
        const int64_t at = (i + m) * kPanel<T> + n * kLanes<T>;
        store(dz + at, f(sums[m][n], load(z + at)));
      }
    }
  });
}

// Rows of dW += z dy^T, a register block: z [kM][kPanel]; dy transposed, [kPanel][out], of which kN vectors are read.
template <class T, int kM, int kN>
[[gnu::always_inline]] inline void weight_grad_block(const T* z, const T* dyt, int64_t out, T* dw) {
  Vec<T> sums[kM][kN];
#pragma GCC unroll 16
  for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < kN; ++n) sums[m][n] = load(dw + m * out + n * kLanes<T>);
  }
  for (int64_t p = 0; p < kPanel<T>; ++p, dyt += out) {
    Vec<T> gradient[kN];
#pragma GCC unroll 16
    for (int n = 0; n < kN; ++n) gradient[n] = load(dyt + n * kLanes<T>);
#pragma GCC unroll 16
    for (int m = 0; m < kM; ++m) {
      const T value = z[m * kPanel<T> + p];
#pragma GCC unroll 16
      for (int n = 0; n < kN; ++n) sums[m][n] += value * gradient[n];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kM; ++m) {
#pragma GCC unroll 16
    for (int n = 0; n < kN; ++n) store(dw + m * out + n * kLanes<T>, sums[m][n]);
  }
}

// dW += z dy^T over a panel: z [in][kPanel], dy transposed, [kPanel][out], dW [in][out]; out is whole vectors.
template <class T>
inline void weight_grad(const T* z, const T* dyt, int64_t in, int64_t out, T* dw) {
  for (int64_t o = 0; o < out;) {
    const bool pair = o + kVectors * kLanes<T> <= out;
    row_blocks<kRows>(in, [&](auto rows, int64_t i) {
      constexpr int kM = decltype(rows)::value;
      const T* values = z + i * kPanel<T>;
      if (pair) {
        weight_grad_block<T, kM, kVectors>(values, dyt + o, out, dw + i * out + o);
      } else {
        weight_grad_block<T, kM, 1>(values, dyt + o, out, dw + i * out + o);
      }
    });
    o += (pair ? kVectors : 1) * kLanes<T>;
  }
}

// sums [width] += row, width in whole vectors.
template <class T>
inline void add_row(const T* row, int64_t width, T* sums) {
  for (int64_t i = 0; i < width; i += kLanes<T>) store(sums + i, load(sums + i) + load(row + i));
}

// sums [width] += the rows of x [rows, width]; width in whole vectors, rows a multiple of 4. Four sums run side by side, since
// one would wait for every addition.
template <class T>
inline void add_rows(const T* x, int64_t rows, int64_t width, T* sums) {
  for (int64_t i = 0; i < width; i += kLanes<T>) {
    Vec<T> part[4] = {load(sums + i)};
    for (int64_t row = 0; row < rows; row += 4) {
#pragma GCC unroll 4
      for (int64_t j = 0; j < 4; ++j) part[j] += load(x + (row + j) * width + i);
    }
    store(sums + i, (part[0] + part[1]) + (part[2] + part[3]));
  }
}

// y = tanh(y), `count` values.
template <class T>
inline void tanh_in_place(T* y, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      y[i] = vector_math::tanh(y[i]);
    } else {
      y[i] = std::tanh(y[i]);
    }
  }
}

}  // namespace HWY_NAMESPACE::panels
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
