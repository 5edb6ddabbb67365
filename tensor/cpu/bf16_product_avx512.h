// Rows of a block's sums (bf16_product.h) with AVX-512's vdpbf16ps, which adds the products of 16 pairs to 16 sums. 8 to 11 rows
// of 32 sums stay in registers (16 to 22 of 32, beside 2 of B and a pair of A that is broadcast from memory) while the program
// walks along k; so a block is walked along three or four times, and B comes from the first cache. What becomes of the sums is
// the caller's: `Sums` has start(row, half), 16 sums to begin with, and finish(first row, sums).
// Floor: 1 instruction a cycle on Sapphire Rapids, 2 on Zen 5, 2 x 16 x 32 = 1024 a step; 13 loads serve 22 of them.
// Needs no flags: the functions name the instruction sets.  Used by bf16_product_avx512.cpp and tile_mlp_bf16_avx512.cpp.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "tensor/cpu/bf16_product.h"

#define ASAP_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))
#define ASAP_AVX512_INLINE ASAP_AVX512 __attribute__((always_inline)) inline

namespace asap::cpu {

template <int rows>
using RowsOfSums = __m512[rows][2];

template <int rows, class Sums>
ASAP_AVX512_INLINE void product_of_rows(const Bf16Product& p, int first, const Sums& sums) {
  static_assert(kProductColumns == 2 * kTileColumns && sizeof(__m512) == kTileColumns * sizeof(float));
  RowsOfSums<rows> sum;
#pragma GCC unroll 11
  for (int r = 0; r < rows; ++r) {
    sum[r][0] = sums.start(first + r, 0);
    sum[r][1] = sums.start(first + r, 1);
  }
  const bf16* a = p.a + first * kProductDepth;
  for (int64_t run = 0; run < p.runs; ++run) {
    const bf16_pair* left = p.b[0] + p.offsets[run];
    const bf16_pair* right = p.b[1] + p.offsets[run];
    for (int64_t step = 0; step < p.steps; ++step, a += kProductRows * kProductDepth) {
      const int64_t pairs = step + 1 < p.steps ? kProductDepth / 2 : p.last_pairs;
      for (int64_t i = 0; i < pairs; ++i, left += p.row_step, right += p.row_step) {
        const auto b0 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(left));
        const auto b1 = reinterpret_cast<__m512bh>(_mm512_loadu_si512(right));
#pragma GCC unroll 11
        for (int r = 0; r < rows; ++r) {
          int pair;
          std::memcpy(&pair, a + r * kProductDepth + 2 * i, sizeof pair);
          const auto everywhere = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
          sum[r][0] = _mm512_dpbf16_ps(sum[r][0], everywhere, b0);
          sum[r][1] = _mm512_dpbf16_ps(sum[r][1], everywhere, b1);
        }
      }
    }
  }
  sums.finish(first, sum);
}

}  // namespace asap::cpu
