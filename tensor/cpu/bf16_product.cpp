// The forms of bf16_product. Declared in bf16_product.h.
#include "tensor/cpu/bf16_product.h"

namespace asap::cpu {

void bf16_product(const Bf16Product& p) {
  for (int64_t r = 0; r < kProductRows; ++r) {
    for (int64_t j = 0; j < kProductColumns; ++j) {
      float sum = p.accumulate ? p.c[r * p.ldc + j] : 0.0f;
      for (int64_t run = 0; run < p.runs; ++run) {
        const bf16_pair* b = p.b[j / kTileColumns] + p.offsets[run] + j % kTileColumns;
        for (int64_t step = 0; step < p.steps; ++step) {
          const bf16* a = p.a + ((run * p.steps + step) * kProductRows + r) * kProductDepth;
          for (int64_t i = 0; i < kProductDepth / 2; ++i, b += p.row_step) {
            sum += static_cast<float>(a[2 * i]) * static_cast<float>(b->first) +
                   static_cast<float>(a[2 * i + 1]) * static_cast<float>(b->second);
          }
        }
      }
      p.c[r * p.ldc + j] = sum;
    }
  }
}

ScopedTiles::ScopedTiles() = default;
ScopedTiles::~ScopedTiles() = default;

}  // namespace asap::cpu
