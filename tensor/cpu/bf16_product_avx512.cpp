// bf16_product with AVX-512's vdpbf16ps, which adds the products of 16 pairs to 16 sums. 11 rows of 32 sums stay in registers
// (22 of 32, beside 2 of B and a pair of A that is broadcast from memory) while the program walks along k; so a block is
// walked along three times, and B comes from the first cache.
// Floor: 1 instruction a cycle on Sapphire Rapids, 2 x 16 x 32 = 1024 a step; 13 loads serve 22 of them.
// The file needs no flags: the functions name the instruction sets.  Selected by bf16_product.cpp.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstring>

#include "tensor/cpu/bf16_product.h"

#define ASAP_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace asap::cpu {
namespace {

// The sums of rows first .. first + rows - 1.
template <int rows>
ASAP_AVX512 void product_of_rows(const Bf16Product& p, int first) {
  static_assert(kProductColumns == 2 * kTileColumns && sizeof(__m512) == kTileColumns * sizeof(float));
  __m512 sum[rows][2];
  float* c = p.c + first * p.ldc;
#pragma GCC unroll 11
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      sum[r][half] = p.accumulate ? _mm512_loadu_ps(c + r * p.ldc + half * kTileColumns) : _mm512_setzero_ps();
    }
  }
  const bf16* a = p.a + first * kProductDepth;
  for (int64_t run = 0; run < p.runs; ++run) {
    const bf16_pair* left = p.b[0] + p.offsets[run];
    const bf16_pair* right = p.b[1] + p.offsets[run];
    for (int64_t step = 0; step < p.steps; ++step, a += kProductRows * kProductDepth) {
      for (int64_t i = 0; i < kProductDepth / 2; ++i, left += p.row_step, right += p.row_step) {
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
#pragma GCC unroll 11
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) _mm512_storeu_ps(c + r * p.ldc + half * kTileColumns, sum[r][half]);
  }
}

}  // namespace

void bf16_product_avx512(const Bf16Product& p) {
  product_of_rows<11>(p, 0);
  product_of_rows<11>(p, 11);
  product_of_rows<10>(p, 22);
}

}  // namespace asap::cpu
#endif
