// bf16_product with AVX-512: sums are stored as they are.  Selected by bf16_product.cpp.  Next: bf16_product_avx512.h.
#if defined(__x86_64__)
#include "tensor/cpu/bf16_product_avx512.h"

namespace asap::cpu {
namespace {

template <bool kAccumulate>
struct Store {
  float* c;
  int64_t ldc;

  ASAP_AVX512_INLINE __m512 start(int64_t row, int half) const {
    return kAccumulate ? _mm512_loadu_ps(c + row * ldc + half * kTileColumns) : _mm512_setzero_ps();
  }
  template <int rows>
  ASAP_AVX512_INLINE void finish(int first, const RowsOfSums<rows>& sum) const {
#pragma GCC unroll 11
    for (int r = 0; r < rows; ++r) {
      _mm512_storeu_ps(c + (first + r) * ldc, sum[r][0]);
      _mm512_storeu_ps(c + (first + r) * ldc + kTileColumns, sum[r][1]);
    }
  }
};

template <class Sums>
ASAP_AVX512_INLINE void product_of_block(const Bf16Product& p, const Sums& sums) {
  product_of_rows<11>(p, 0, sums);
  product_of_rows<11>(p, 11, sums);
  product_of_rows<10>(p, 22, sums);
}

}  // namespace

ASAP_AVX512 void bf16_product_avx512(const Bf16Product& p) {
  p.accumulate ? product_of_block(p, Store<true>{p.c, p.ldc}) : product_of_block(p, Store<false>{p.c, p.ldc});
}

}  // namespace asap::cpu
#endif
