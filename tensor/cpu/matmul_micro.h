// The inner loop of every matrix product here: a small tile of the result is kept in registers while the program walks
// along k. Written with the compiler's vector types, so the same text becomes AVX-512, AVX2 or SSE code.
// Method: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008; Van Zee and
// van de Geijn, BLIS, ACM TOMS 41(3), 2015.  Next: matmul_pack.h fills the panels, matmul_block.h calls this.
#if defined(ASAP_CPU_MATMUL_MICRO_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_MATMUL_MICRO_H
#undef ASAP_CPU_MATMUL_MICRO_H
#else
#define ASAP_CPU_MATMUL_MICRO_H
#endif

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "tensor/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// Tile of kTileRows x 2 vectors: as many accumulators as the registers hold beside two vectors of b and one of a.
#if HWY_TARGET == HWY_AVX3
inline constexpr int kVectorBytes = 64, kTileRows = 14;
#elif HWY_TARGET == HWY_AVX2
inline constexpr int kVectorBytes = 32, kTileRows = 6;
#else
inline constexpr int kVectorBytes = 16, kTileRows = 4;
#endif
inline constexpr int kTileVectors = 2;

template <class T>
struct Simd {
  typedef T Vec __attribute__((vector_size(kVectorBytes)));
  static constexpr int lanes = kVectorBytes / static_cast<int>(sizeof(T));
  static constexpr int columns = kTileVectors * lanes;  // of a tile, and of a panel of b
  static constexpr int rows = (kTileRows + lanes - 1) / lanes * lanes;  // of a panel of a: the tile's, rounded up
};
template <class T>
using Vec = typename Simd<T>::Vec;

// What numbers become in a vector: bf16 are computed with as f32.
template <class T>
using SumOf = std::conditional_t<std::is_same_v<T, bf16>, float, T>;

template <class T>
Vec<SumOf<T>> load(const T* from) {
  if constexpr (std::is_same_v<T, bf16>) {
    typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
    typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return reinterpret_cast<Vec<float>>(__builtin_convertvector(halves, Words) << 16);
  } else {
    Vec<T> v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
}
template <class T>
void store(T* to, const Vec<T>& v) {
  std::memcpy(to, &v, sizeof v);
}
// Lane i is lane index(i) of the pair (p, q). `index` captures nothing: the compiler wants constants.
template <class T, class Index>
Vec<T> shuffle(const Vec<T>& p, const Vec<T>& q, Index) {
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(p, q, Index{}(I)...);
  }(std::make_integer_sequence<int, Simd<T>::lanes>{});
}

// Some rows of a: element (r, k) is data[r*row_step + k*k_step].
template <class T>
struct RowsOfA {
  const T* data;
  int64_t row_step, k_step;
};

// What a tile is made of. k is walked as `runs` runs of `length` steps; a has no gaps between them, b [length][columns]
// continues `b_step` elements after the start of the run before. Plain products have one run.
template <class T>
struct MicroArgs {
  int64_t runs, length;
  RowsOfA<T> a;
  const T* b;
  int64_t b_step;
  T* c;  // [rows][columns], rows `ldc` apart
  int64_t ldc;
  bool accumulate;  // c += instead of c =
};

// c[R][V vectors] (+)= sum over k of a[R][k] b[k][V vectors]. Rows of a are reached from every third one: an address is a register
// and one or two steps, so that all of them fit the registers.
template <class T, int R, int V>
void micro_kernel(const MicroArgs<T>& args) {
  constexpr int lanes = Simd<T>::lanes;
  const int64_t row_step = args.a.row_step, k_step = args.a.k_step, ldc = args.ldc;
  Vec<T> sum[R][V] = {};
  const T* a[(R + 2) / 3];
  for (int r = 0; r < R; r += 3) a[r / 3] = args.a.data + r * row_step;
  const T* b_run = args.b;
  for (int64_t run = 0; run < args.runs; ++run, b_run += args.b_step) {
    const T* b = b_run;
    for (int64_t k = 0; k < args.length; ++k, b += V * lanes) {
      Vec<T> bv[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) bv[v] = load(b + v * lanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[r][v] += a[r / 3][r % 3 * row_step] * bv[v];
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; r += 3) a[r / 3] += k_step;
    }
  }
  T* c = args.c;
  const auto for_each_vector = [&](const auto& f) __attribute__((always_inline)) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) f(sum[r][v], c + r * ldc + v * lanes);
    }
  };
  if (args.accumulate) for_each_vector([](Vec<T>& s, const T* at) __attribute__((always_inline)) { s += load(at); });
  for_each_vector([](const Vec<T>& s, T* at) __attribute__((always_inline)) { store<T>(at, s); });
}

template <class T>
using MicroKernel = void (*)(const MicroArgs<T>&);

// The kernel for 1..kTileRows rows and V vectors.
template <class T, int V = kTileVectors>
MicroKernel<T> micro_kernel_for(int64_t rows) {
  static constexpr auto table = []<int... I>(std::integer_sequence<int, I...>) {
    return std::array<MicroKernel<T>, sizeof...(I)>{micro_kernel<T, I + 1, V>...};
  }(std::make_integer_sequence<int, kTileRows>{});
  return table[static_cast<size_t>(rows - 1)];
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
