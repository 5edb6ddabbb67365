// The three inner loops of the convolution in bf16: source pixels are staged as pairs of channels, weights packed into panels,
// sums stored as pixels. Compiled for several instruction sets. Next: conv2d_bf16.cpp.
#pragma once

#include <span>

#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/workspace.h"
#include "tensor/kernels.h"

namespace asap::cpu::blocks {

struct Shift {
  int64_t h, w;
};

// What is staged of one picture: channels 2i and 2i+1 interleaved pixel by pixel, with the border that the padding mode wants, as
//   [pair][row phase][column phase][rows][pitch], of which pixel (r, q) of phase (a, b) is the source's
//   (first.h + r*stride.h + a, first.w + q*stride.w + b).
// Thus 16 neighbours of an output row lie side by side at any stride, and a tap is a constant offset.
// Folded, where there are few channels: the taps are channels, too (tap by tap), there are no phases and no offsets.
struct Stage {
  const bf16* x = nullptr;  // planes of h*w
  int64_t channels = 0, h = 0, w = 0;
  Size2 stride = 1;
  PadMode pad_mode = PadMode::zero;
  std::span<const Shift> folded = {};  // the taps, or none
  Shift first = {};
  int64_t rows = 0, columns = 0, pitch = 0;  // columns <= pitch: those that outputs read

  int64_t depth() const { return channels * (folded.empty() ? 1 : static_cast<int64_t>(folded.size())); }
  int64_t phase_size() const { return rows * pitch; }
  // An odd number of cache lines: otherwise the pairs of a step would fall into few sets of the first cache.
  int64_t pair_size() const {
    constexpr int64_t kLine = 64 / sizeof(bf16_pair);
    return (ceil_div(phase_size() * (folded.empty() ? stride.h * stride.w : 1), kLine) | 1) * kLine;
  }
};
// Pairs [begin, end) of channels; zeros beyond the last channel.
void stage_pairs(const Stage&, int64_t begin, int64_t end, bf16_pair* to);

// Where a panel's weights lie: row r and channel k of tap t at r*row_step + k*depth_step + taps[t].
struct Weights {
  const bf16* data = nullptr;
  int64_t rows = 0, depth = 0, row_step = 0, depth_step = 0;
  std::span<const int64_t> taps = {};
  bool folded = false;  // k of a panel counts taps and channels: (tap, channel)
};
// Rows from `row` on, steps [step, step + steps), as bf16_product wants them: [taps][steps][32][32], zeros beyond rows and depth.
void pack_panel(const Weights&, int64_t row, int64_t step, int64_t steps, bf16* to);

// `count` columns of a block of sums from column `from` on, which go to pixel `to` of a plane and those after it.
struct Piece {
  int64_t from, to, count;
  bool ends_row;  // of its phase's pixels
};
struct Planes {
  bf16* y = nullptr;  // of the block's first row
  int64_t plane = 0, pixel_step = 1;
  const float* bias = nullptr;  // of the block's first row, or none
  float slope = 1;
};
// y = act(sum + bias) for the first `rows` rows of a block.
void store_block(const float* sums, int64_t rows, std::span<const Piece>, const Planes&);

}  // namespace asap::cpu::blocks
