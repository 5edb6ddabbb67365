// Blocks of the tile MLP with AVX-512's vdpbf16ps: what store_hidden and store_gradient do to sums in memory (tile_mlp_bf16.h),
// done in the registers that summed them.
// Floor: the products'. A block at 64 channels takes 2048 instructions that multiply, and some 16 for each of its 16 pairs of rows
// to become values.
#if defined(__x86_64__)
#include "tensor/cpu/tile_mlp_bf16_avx512.h"

#include "tensor/cpu/bf16_product_avx512.h"

namespace asap::cpu {
namespace {

constexpr int kRows = 8;  // in registers at a time: whole pairs

// Rows first and first + 1, as two vectors each, become bf16.
struct Rows {
  int64_t columns;
  bf16 *pairs, *rows;

  ASAP_AVX512_INLINE void store(int64_t first, const __m512 (&even)[2], const __m512 (&odd)[2]) const {
    alignas(64) static constexpr uint16_t kInterleave[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                             8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i interleave = _mm512_load_si512(kInterleave);
    const auto left = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd[0], even[0]));
    const auto right = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd[1], even[1]));
    bf16* to = pairs + first * columns;
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(interleave, left));
    _mm512_storeu_si512(to + 2 * kTileColumns, _mm512_permutexvar_epi16(interleave, right));
    if (rows) {
      _mm512_storeu_si512(rows + first * kProductColumns, __builtin_shufflevector(left, right, 0, 1, 2, 3, 8, 9, 10, 11));
      _mm512_storeu_si512(rows + (first + 1) * kProductColumns, __builtin_shufflevector(left, right, 4, 5, 6, 7, 12, 13, 14, 15));
    }
  }
};

struct Hidden : Rows {
  const float* bias;
  __m512 slope;

  ASAP_AVX512_INLINE __m512 start(int64_t row, int) const { return _mm512_set1_ps(bias[row]); }
  ASAP_AVX512_INLINE __m512 value(__m512 u) const {
    return _mm512_mask_mul_ps(u, _mm512_cmp_ps_mask(u, _mm512_setzero_ps(), _CMP_NGT_UQ), u, slope);
  }
  ASAP_AVX512_INLINE void finish(int first, const RowsOfSums<kRows>& sum) const {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; r += 2) {
      store(first + r, {value(sum[r][0]), value(sum[r][1])}, {value(sum[r + 1][0]), value(sum[r + 1][1])});
    }
  }
};

struct Gradient : Rows {
  const bf16* z;
  __m512 slope;
  float* dbias;

  ASAP_AVX512_INLINE __m512 start(int64_t, int) const { return _mm512_setzero_ps(); }
  ASAP_AVX512_INLINE void add(int64_t row, const __m512 (&values)[2]) const {
    float* parts = dbias + row * kTileColumns;
    _mm512_storeu_ps(parts, _mm512_add_ps(_mm512_loadu_ps(parts), _mm512_add_ps(values[0], values[1])));
  }
  ASAP_AVX512_INLINE void finish(int first, const RowsOfSums<kRows>& sum) const {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; r += 2) {
      __m512 even[2], odd[2];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m512i pair = _mm512_loadu_si512(z + (first + r) * columns + half * 2 * kTileColumns);
        // A positive bf16 is a positive integer.
        const __mmask16 low = _mm512_cmple_epi32_mask(_mm512_maskz_slli_epi32(0xFFFF, pair, 16), _mm512_setzero_si512());
        const __mmask16 high = _mm512_cmple_epi32_mask(pair, _mm512_set1_epi32(0xFFFF));
        even[half] = _mm512_mask_mul_ps(sum[r][half], low, sum[r][half], slope);
        odd[half] = _mm512_mask_mul_ps(sum[r + 1][half], high, sum[r + 1][half], slope);
      }
      add(first + r, even);
      add(first + r + 1, odd);
      store(first + r, even, odd);
    }
  }
};

template <class Sums>
ASAP_AVX512_INLINE void product_of_block(const Bf16Product& p, const Sums& sums) {
  for (int first = 0; first < kProductRows; first += kRows) product_of_rows<kRows>(p, first, sums);
}

}  // namespace

ASAP_AVX512 void hidden_block_avx512(const Bf16Product& product, const float* bias, float slope, int64_t columns, bf16* pairs,
                                     bf16* rows) {
  product_of_block(product, Hidden{{columns, pairs, rows}, bias, _mm512_set1_ps(slope)});
}

ASAP_AVX512 void gradient_block_avx512(const Bf16Product& product, const bf16* z, float slope, int64_t columns, bf16* pairs,
                                       bf16* rows, float* dbias) {
  product_of_block(product, Gradient{{columns, pairs, rows}, z, _mm512_set1_ps(slope), dbias});
}

}  // namespace asap::cpu
#endif
