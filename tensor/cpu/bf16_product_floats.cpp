// bf16_product on any machine. A bf16 is the upper half of a float, so a pair of B becomes two floats by one shift and one
// mask, in registers; A's numbers, which meet 32 columns each, are widened beforehand, a step at a time, so that a
// multiplication takes its factor by a broadcast from memory. A tile of a few rows x 2 vectors of sums stays in registers along a run
// of steps, as in matmul_micro.h.
// Floor: the machine's fused multiply-adds in f32, 32 x 32 x 32 a step; widening B costs 4 instructions for each 4 x rows.
#include "tensor/cpu/bf16_product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/bf16_product_floats.cpp"
#include "tensor/cpu/targets.h"

#include <algorithm>

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, kTileColumns>;
constexpr int kLanes = hn::MaxLanes(Floats());
using Words = hn::Rebind<uint32_t, Floats>;
// As many sums as the registers hold beside two vectors of B, a factor and the mask. The rows are shared out evenly.
constexpr int kMaxRows = HWY_TARGET <= HWY_AVX3 ? 12 : 6;
constexpr int kRowTiles = (kProductRows + kMaxRows - 1) / kMaxRows,
              kMoreRows = (kProductRows + kRowTiles - 1) / kRowTiles;
constexpr int kChunk = 4;  // steps whose factors are widened at a time: 16 KiB

struct Chunk {
  const float* a;  // [steps][32 rows][32 of k]
  int64_t steps;
  const bf16_pair* b[2];  // the first pair of both vectors
  int64_t row_step;
  float* c[2];  // likewise
  int64_t ldc;
  bool accumulate;
};

template <int rows>
HWY_INLINE void product_of_rows(const Chunk& chunk) {
  const Floats floats;
  const Words words;
  const auto upper = hn::Set(words, 0xFFFF0000u);
  hn::Vec<Floats> sum[rows][2];
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      sum[r][v] = chunk.accumulate ? hn::LoadU(floats, chunk.c[v] + r * chunk.ldc) : hn::Zero(floats);
    }
  }
  const float* a = chunk.a;
  const auto* b0 = reinterpret_cast<const uint32_t*>(chunk.b[0]);
  const auto* b1 = reinterpret_cast<const uint32_t*>(chunk.b[1]);
  for (int64_t step = 0; step < chunk.steps; ++step, a += kProductRows * kProductDepth) {
    for (int64_t i = 0; i < kProductDepth; i += 2, b0 += chunk.row_step, b1 += chunk.row_step) {
      const auto first0 = hn::BitCast(floats, hn::ShiftLeft<16>(hn::LoadU(words, b0)));
      const auto first1 = hn::BitCast(floats, hn::ShiftLeft<16>(hn::LoadU(words, b1)));
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const auto factor = hn::Set(floats, a[r * kProductDepth + i]);
        sum[r][0] = hn::MulAdd(factor, first0, sum[r][0]);
        sum[r][1] = hn::MulAdd(factor, first1, sum[r][1]);
      }
      const auto second0 = hn::BitCast(floats, hn::And(hn::LoadU(words, b0), upper));
      const auto second1 = hn::BitCast(floats, hn::And(hn::LoadU(words, b1), upper));
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const auto factor = hn::Set(floats, a[r * kProductDepth + i + 1]);
        sum[r][0] = hn::MulAdd(factor, second0, sum[r][0]);
        sum[r][1] = hn::MulAdd(factor, second1, sum[r][1]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) hn::StoreU(sum[r][v], floats, chunk.c[v] + r * chunk.ldc);
  }
}

void product(const Bf16Product& p) {
  alignas(64) float a[kChunk * kProductRows * kProductDepth];
  bool accumulate = p.accumulate;
  for (int64_t run = 0; run < p.runs; ++run) {
    for (int64_t step = 0; step < p.steps; step += kChunk) {
      const int64_t steps = std::min<int64_t>(kChunk, p.steps - step);
      const bf16* from = p.a + (run * p.steps + step) * kProductRows * kProductDepth;
      for (int64_t i = 0; i < steps * kProductRows * kProductDepth; ++i) a[i] = static_cast<float>(from[i]);
      const int64_t offset = p.offsets[run] + step * (kProductDepth / 2) * p.row_step;
      const auto pairs = [&](int64_t column) { return p.b[column / kTileColumns] + offset + column % kTileColumns; };
      for (int64_t column = 0; column < kProductColumns; column += 2 * kLanes) {
        for (int tile = 0; tile < kRowTiles; ++tile) {
          const int64_t row = tile * kProductRows / kRowTiles, rows = (tile + 1) * kProductRows / kRowTiles - row;
          float* c = p.c + row * p.ldc + column;
          const Chunk chunk{a + row * kProductDepth,
                            steps,
                            {pairs(column), pairs(column + kLanes)},
                            p.row_step,
                            {c, c + kLanes},
                            p.ldc,
                            accumulate};
          rows == kMoreRows ? product_of_rows<kMoreRows>(chunk) : product_of_rows<kMoreRows - 1>(chunk);
        }
      }
      accumulate = true;
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace asap::cpu {
HWY_EXPORT(product);
void bf16_product_floats(const Bf16Product& p) { HWY_DYNAMIC_DISPATCH(product)(p); }
}  // namespace asap::cpu
#endif
