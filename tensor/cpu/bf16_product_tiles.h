// bf16_product on AMX tiles. A block of 32 x 32 sums is 2 x 2 tiles; with two tiles of A and two of B beside them the eight
// are full, and each tile that is loaded takes part in two products.
// Floor: a product of tiles (16 x 16 x 32 multiplications) occupies the unit for 16 cycles, so a step costs 64; its four loads
// cost 8 each, twice that where B's rows straddle cache lines, and hide behind the products.
// A template on the tiles (amx_tiles.h): AmxTiles is the form of bf16_product.cpp, tests execute PortableTiles on any machine.
#pragma once

#include "tensor/cpu/amx_tiles.h"
#include "tensor/cpu/bf16_product.h"

namespace asap::cpu {

template <class Tiles>
void bf16_product_tiles(const Bf16Product& p) {
  constexpr int64_t kHalf = kProductRows / 2, kARow = kProductDepth * sizeof(bf16);
  const int64_t b_row = p.row_step * static_cast<int64_t>(sizeof(bf16_pair)),
                c_row = p.ldc * static_cast<int64_t>(sizeof(float));
  float* lower = p.c + kHalf * p.ldc;
  if (p.accumulate) {
    Tiles::template load<0>(p.c, c_row);
    Tiles::template load<1>(p.c + kTileColumns, c_row);
    Tiles::template load<2>(lower, c_row);
    Tiles::template load<3>(lower + kTileColumns, c_row);
  } else {
    Tiles::template zero<0>();
    Tiles::template zero<1>();
    Tiles::template zero<2>();
    Tiles::template zero<3>();
  }
  const bf16* a = p.a;
  for (int64_t run = 0; run < p.runs; ++run) {
    const bf16_pair* left = p.b[0] + p.offsets[run];
    const bf16_pair* right = p.b[1] + p.offsets[run];
    for (int64_t step = 0; step < p.steps; ++step) {
      Tiles::template load<4>(a, kARow);
      Tiles::template load<6>(left, b_row);
      Tiles::template dot_product<0, 4, 6>();
      Tiles::template load<7>(right, b_row);
      Tiles::template dot_product<1, 4, 7>();
      Tiles::template load<5>(a + kHalf * kProductDepth, kARow);
      Tiles::template dot_product<2, 5, 6>();
      Tiles::template dot_product<3, 5, 7>();
      a += kProductRows * kProductDepth;
      left += kProductDepth / 2 * p.row_step;
      right += kProductDepth / 2 * p.row_step;
    }
  }
  Tiles::template store<0>(p.c, c_row);
  Tiles::template store<1>(p.c + kTileColumns, c_row);
  Tiles::template store<2>(lower, c_row);
  Tiles::template store<3>(lower + kTileColumns, c_row);
}

}  // namespace asap::cpu
