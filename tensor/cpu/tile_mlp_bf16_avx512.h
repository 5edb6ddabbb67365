// Layers of the tile MLP in bf16 whose blocks of sums go from AVX-512's registers to where the next layer reads them.
// Next: tile_mlp_bf16_avx512.cpp.
#pragma once

#include "tensor/cpu/bf16_product.h"

namespace asap::cpu {

// Both: `product` without c; a block of values is stored as rows of pairs, `columns` apart, and unless `rows` is nullptr as
// [32 channels][32 pixels].

// act(sums + bias).
void hidden_block_avx512(const Bf16Product& product, const float* bias, float slope, int64_t columns, bf16* pairs, bf16* rows);

// Sums times 1, or slope where z (rows of pairs) is not positive; each channel's are added to its 16 of `dbias`, too.
void gradient_block_avx512(const Bf16Product& product, const bf16* z, float slope, int64_t columns, bf16* pairs, bf16* rows,
                           float* dbias);

}  // namespace asap::cpu
