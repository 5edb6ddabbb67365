// The product that convolutions, matrix products and the tile MLP in bf16 stand on: a block of 32 x 32 sums in f32.
// The unit of arithmetic is a pair of neighbours along k: one instruction (AVX-512's vdpbf16ps, AMX's tdpbf16ps) multiplies two
// pairs and adds both products to a sum in f32. So B lies as rows of pairs, [k/2][column][2]: a picture whose channels c and
// c+1 are interleaved pixel by pixel, which costs next to nothing to make from planes and needs no transposition on the way
// back: a row of sums is a row of pixels.
// Three forms, chosen by isa(): AMX tiles, AVX-512 vectors, and any machine's floats.  Next: bf16_product.cpp.
#pragma once

#include <cstdint>
#include <span>

#include "tensor/bfloat16.h"
#include "tensor/cpu/isa.h"

namespace asap::cpu {

inline constexpr int64_t kProductRows = 32, kProductColumns = 32;  // of a block of sums
inline constexpr int64_t kProductDepth = 32;                       // of k in a step: 16 pairs
inline constexpr int64_t kTileColumns = 16;                        // a block's columns are two halves of 16

struct bf16_pair {
  bf16 first, second;
};
// The same as integers, for loops and vectors that move them.
typedef uint16_t Half __attribute__((may_alias));
typedef uint32_t Pair __attribute__((may_alias));

// c[32][32] (+)= sum over runs and steps of A B. Rows and columns that nobody wants are computed all the same: A's must be
// zeros or other finite numbers, B's must be readable.
struct Bf16Product {
  int64_t runs = 1, steps = 0;  // k is walked as `runs` runs (a convolution's taps) of `steps` steps of 32
  int64_t last_pairs = kProductDepth / 2;  // of a run's last step; those behind are zeros of A, which a form may skip
  const bf16* a = nullptr;      // [runs][steps][32 rows][32 of k], without gaps; 64-byte aligned
  // Of B, a run begins `offsets[run]` pairs behind b[half]; there, row of pairs i (16 a step) begins i*row_step pairs on.
  const int64_t* offsets = nullptr;
  const bf16_pair* b[2] = {};  // the first pair of columns 0..15 and of 16..31
  int64_t row_step = 0;
  float* c = nullptr;  // [32][32], rows ldc apart
  int64_t ldc = kProductColumns;
  bool accumulate = false;  // c += instead of c =
};

// Not to be called with nothing to sum.
void bf16_product(const Bf16Product&);

// Tiles are a processor's state: a thread that calls bf16_product holds one of these around its calls (cheap where there is no AMX).
class ScopedTiles {
 public:
  ScopedTiles();
  ~ScopedTiles();
  ScopedTiles(const ScopedTiles&) = delete;
  ScopedTiles& operator=(const ScopedTiles&) = delete;
};

// The forms, the best last; a machine can execute those with isa() >= needs. Tests call each; everybody else calls bf16_product.
struct Bf16ProductForm {
  const char* name;
  Isa needs;
  void (*product)(const Bf16Product&);
};
std::span<const Bf16ProductForm> bf16_product_forms();

// bf16_product_floats.cpp and bf16_product_avx512.cpp.
void bf16_product_floats(const Bf16Product&);
void bf16_product_avx512(const Bf16Product&);

}  // namespace asap::cpu
