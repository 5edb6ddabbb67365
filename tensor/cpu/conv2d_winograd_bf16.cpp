// 3x3 convolution of stride 1 by Winograd's F(2x2, 3x3) with products of bf16, forward and input gradient (the same convolution
// of dy with the filters turned and their roles exchanged): 4 outputs from 16 products instead of 36. Each of the 16, summed over
// channels, is a matrix product [rows, channels] x [channels, tiles] for bf16_product.h.
// The transforms add and halve: rounding their results to bf16 errs 0.4 % (rms, 1,024 channels) where rounding y alone errs 0.17 %.
// Floor: 16/36 of the direct sums' instructions, and the filters' transform, which 64 tiles make as cheap as a quarter of those.
// Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.  Next: conv2d_winograd.cpp, in float32.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/conv2d_winograd_bf16.cpp"
#include "tensor/cpu/targets.h"

#include <bit>

#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_winograd_filtering.h"
#include "tensor/cpu/isa.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/transpose.h"
#include "tensor/cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

constexpr int kTile = 2, kPoints = 4, kProducts = kPoints * kPoints;  // pixels of a tile and values at points, each way
constexpr int64_t kColumns = kProductColumns;                        // tiles of a block
constexpr int64_t kSquare = kProductRows * kProductDepth;
constexpr int64_t kSums = kProductRows * kProductColumns;
constexpr int64_t kBlockSteps = 8;                                   // of 32 channels, summed at a time: u takes 256 KiB
constexpr int64_t kChunk = 8;                                        // tiles worked on at a time
constexpr int kLanes = Simd<float>::lanes;
using V = Vec<float>;
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
typedef uint16_t Halves __attribute__((vector_size(kVectorBytes / 2)));
typedef uint32_t Pixels __attribute__((may_alias, aligned(2)));  // two neighbours of a row

float lower(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
float upper(uint32_t pair) { return std::bit_cast<float>(pair & 0xFFFF0000u); }
// bf16 nearest to v, ties to even, in the upper half; finite numbers stay finite or become infinite, infinite ones and NaN stay.
template <class W>
[[gnu::always_inline]] inline W rounded_bits(W v) {
  return v + 0x7FFFu + ((v >> 16) & 1u);
}
// The same of a vector, narrowed. AVX512-BF16 has an instruction for it, which this target may not be compiled with: a quarter
// of the filters' transform.
template <bool native>
[[gnu::always_inline]] inline Halves narrowed(const V& v) {
#if HWY_TARGET == HWY_AVX3
  if constexpr (native) {
    Halves result;
    asm("vcvtneps2bf16 %1, %0" : "=v"(result) : "v"(v));
    return result;
  }
#endif
  return __builtin_convertvector(rounded_bits(reinterpret_cast<Words>(v)) >> 16, Halves);
}
[[gnu::always_inline]] inline uint32_t pair_of(float first, float second) {
  return rounded_bits(std::bit_cast<uint32_t>(first)) >> 16 | (rounded_bits(std::bit_cast<uint32_t>(second)) & 0xFFFF0000u);
}

struct Blocks : winograd::Filtering<bf16, kTile> {
  int64_t count() const { return ceil_div(tiles(), kColumns); }
  int64_t steps() const { return ceil_div(channels, kProductDepth); }
  // Pairs from one product to the next in v, and numbers in u: a little more than needed, as a power of two would put all of them
  // into one set of the L1 cache.
  int64_t v_step() const { return (steps() * kProductDepth / 2 + 1) * kColumns; }
  int64_t u_step() const { return std::min(kBlockSteps, steps()) * kSquare + kProductDepth; }
  int64_t block_size() const { return kProducts * v_step(); }
};

// ---- the picture: v [block][16][pair of channels][32 tiles] pairs -----------------------------------------------------

// B^T d B for both channels of a pair, a block of tiles: B^T d = (d0 - d2, d1 + d2, d2 - d1, d1 - d3). A word holds the two pixels
// of a row at which a tile begins; the next word holds its other two.
void transform_pair(const Blocks& f, int64_t block, int64_t pair, bf16_pair* v) {
  constexpr int64_t kMost = 2 * (kColumns + kChunk) + 2;  // pixels of a row that are read
  alignas(64) uint32_t out[kProducts][kColumns + kChunk] = {};
  winograd::for_each_segment(f, block * kColumns, kColumns, [&](const winograd::Segment& s, int64_t place) {
    bf16 lines[2][kPoints][kMost];
    const Pixels* rows[2][kPoints];
    const int64_t left = s.column * kTile - f.padding.w, reads = 2 * ceil_div(s.count, kChunk) * kChunk + 2;
    for (int64_t i = 0; i < 2; ++i) {
      const int64_t channel = 2 * pair + i;
      const bf16* plane = f.x + (s.image * f.channels + channel) * f.h * f.w;
      for (int64_t r = 0; r < kPoints; ++r) {
        const int64_t ih = channel < f.channels ? padded_index(s.row * kTile - f.padding.h + r, f.h, f.pad_mode) : -1;
        const bf16* from = plane + ih * f.w + left;
        if (ih < 0 || left < 0 || left + reads > f.w) {
          bf16* line = lines[i][r];
          const int64_t begin = ih < 0 ? reads : std::clamp<int64_t>(-left, 0, reads);
          const int64_t end = std::clamp(f.w - left, begin, reads);
          std::fill(line, line + begin, bf16());
          std::copy(from + begin, from + end, line + begin);
          std::fill(line + end, line + reads, bf16());
          if (ih >= 0) fill_padding(plane + ih * f.w, f.w, f.padding.w, f.pad_mode, left, 1, reads, line);
          from = line;
        }
        rows[i][r] = reinterpret_cast<const Pixels*>(from);
      }
    }
    for (int64_t t = 0; t < s.count; t += kChunk) {
      float points[2][kProducts][kChunk];
      for (int i = 0; i < 2; ++i) {
        float half[kPoints][kPoints][kChunk];  // rows done
        for (int r = 0; r < kPoints; ++r) {
          const Pixels* row = rows[i][r] + t;
          for (int64_t q = 0; q < kChunk; ++q) {
            const float d0 = lower(row[q]), d1 = upper(row[q]), d2 = lower(row[q + 1]), d3 = upper(row[q + 1]);
            half[r][0][q] = d0 - d2;
            half[r][1][q] = d1 + d2;
            half[r][2][q] = d2 - d1;
            half[r][3][q] = d1 - d3;
          }
        }
        for (int j = 0; j < kPoints; ++j) {
          for (int64_t q = 0; q < kChunk; ++q) {
            points[i][j][q] = half[0][j][q] - half[2][j][q];
            points[i][4 + j][q] = half[1][j][q] + half[2][j][q];
            points[i][8 + j][q] = half[2][j][q] - half[1][j][q];
            points[i][12 + j][q] = half[1][j][q] - half[3][j][q];
          }
        }
      }
      for (int p = 0; p < kProducts; ++p) {
        for (int64_t q = 0; q < kChunk; ++q) out[p][place + t + q] = pair_of(points[0][p][q], points[1][p][q]);
      }
    }
  });
  for (int p = 0; p < kProducts; ++p) std::memcpy(static_cast<void*>(v + p * f.v_step() + pair * kColumns), out[p], kColumns * sizeof(bf16_pair));
}

void transform_picture(const Blocks& f, bf16_pair* v) {
  const int64_t pairs = f.steps() * kProductDepth / 2;
  parallel_for(f.count() * pairs, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) transform_pair(f, i / pairs, i % pairs, v + i / pairs * f.block_size());
  });
}

// ---- the filters: u [16], each product's a as bf16_product wants it ----------------------------------------------------

// kLanes filters from `from` on: G g G^T, G g = (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2); to u, from product to product `step` apart.
template <bool native>
[[gnu::always_inline]] inline void transform_lanes(const bf16* from, const bf16* end, int64_t tap_step, int64_t next, bool turned,
                                                   uint16_t* u, int64_t step) {
  const auto at_points = [](const V& g0, const V& g1, const V& g2, V(&to)[kPoints]) __attribute__((always_inline)) {
    const V even = 0.5f * (g0 + g2), odd = 0.5f * g1;
    to[0] = g0;
    to[1] = even + odd;
    to[2] = even - odd;
    to[3] = g2;
  };
  V weights[9], half[3][kPoints];
  winograd::load_weights(from, end, tap_step, next, weights);
#pragma GCC unroll 4
  for (int j = 0; j < 3; ++j) {
    turned ? at_points(weights[8 - j], weights[5 - j], weights[2 - j], half[j]) : at_points(weights[j], weights[3 + j], weights[6 + j], half[j]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < kPoints; ++i) {
    V row[kPoints];
    at_points(half[0][i], half[1][i], half[2][i], row);
#pragma GCC unroll 4
    for (int j = 0; j < kPoints; ++j) {
      const Halves halves = narrowed<native>(row[j]);
      std::memcpy(u + (i * kPoints + j) * step, &halves, sizeof halves);
    }
  }
}

// The filters of `rows` outputs from `row` on, `steps` steps of channels. Lanes are what lies side by side in w: in the forward pass
// channels; in the input gradient outputs (rows), whose squares are then turned. Zeros behind the last channel.
template <bool native>
void transform_filters(const Blocks& f, int64_t row, int64_t rows, int64_t step, int64_t steps, bf16* to) {
  uint16_t* u = reinterpret_cast<uint16_t*>(to);
  const bf16* end = f.filters + (f.rows - 1) * f.row_step + (f.channels - 1) * f.channel_step + 8 * f.tap_step + 1;
  const auto zeros = [&](uint16_t* at, int64_t product_step, int64_t count) {
    for (int p = 0; p < kProducts; ++p) std::fill_n(at + p * product_step, count, uint16_t{0});
  };
  alignas(64) uint16_t square[kProducts][kSquare];
  for (int64_t s = 0; s < steps; ++s, u += kSquare) {
    const int64_t channel = (step + s) * kProductDepth, channels = std::min(kProductDepth, f.channels - channel);
    const bf16* from = f.filters + row * f.row_step + channel * f.channel_step;
    if (!f.turned) {
      for (int64_t r = 0; r < rows; ++r, from += f.row_step) {
        for (int64_t c = 0; c < kProductDepth; c += kLanes) {
          uint16_t* place = u + r * kProductDepth + c;
          if (c < channels) transform_lanes<native>(from + c * f.channel_step, end, f.tap_step, f.row_step, false, place, f.u_step());
          const int64_t there = std::clamp<int64_t>(channels - c, 0, kLanes);
          if (there < kLanes) zeros(place + there, f.u_step(), kLanes - there);  // behind them w may hold anything
        }
      }
      continue;
    }
    for (int64_t c = 0; c < kProductDepth; ++c, from += f.channel_step) {
      for (int64_t r = 0; r < rows; r += kLanes) {
        uint16_t* place = square[0] + c * kProductRows + r;
        if (c < channels) transform_lanes<native>(from + r * f.row_step, end, f.tap_step, f.channel_step, true, place, kSquare);
        else zeros(place, kSquare, kLanes);
      }
    }
    for (int p = 0; p < kProducts; ++p) {
      transpose(square[p], kProductRows, kProductDepth, ceil_div(rows, kLanes) * kLanes, u + p * f.u_step(), kProductDepth);
    }
  }
}

// ---- the result: sums [16][32 rows][32 tiles] of a block ---------------------------------------------------------------

// A^T m A, A^T m = (m0 + m1 + m2, m1 - m2 - m3), bias and activation. A tile's two pixels of a row are a word.
void write_outputs(const Blocks& f, int64_t block, int64_t row, int64_t rows, const float* sums) {
  for (int64_t r = row; r < row + rows; ++r, sums += kColumns) {
    alignas(64) uint32_t lines[kTile][kColumns];
    const V shift = V{} + f.epilogue.shift(r);
    for (int64_t t = 0; t < kColumns; t += kLanes) {
      V half[kTile][kPoints];
#pragma GCC unroll 4
      for (int j = 0; j < kPoints; ++j) {
        V m[kPoints];
#pragma GCC unroll 4
        for (int i = 0; i < kPoints; ++i) m[i] = load(sums + (i * kPoints + j) * kSums + t);
        half[0][j] = m[0] + m[1] + m[2];
        half[1][j] = m[1] - m[2] - m[3];
      }
#pragma GCC unroll 2
      for (int i = 0; i < kTile; ++i) {
        V first = half[i][0] + half[i][1] + half[i][2] + shift, second = half[i][1] - half[i][2] - half[i][3] + shift;
        f.epilogue.activate(first);
        f.epilogue.activate(second);
        const Words pairs = rounded_bits(reinterpret_cast<Words>(first)) >> 16 | (rounded_bits(reinterpret_cast<Words>(second)) & 0xFFFF0000u);
        std::memcpy(&lines[i][t], &pairs, sizeof pairs);
      }
    }
    winograd::for_each_segment(f, block * kColumns, kColumns, [&](const winograd::Segment& s, int64_t place) {
      const int64_t oh = s.row * kTile, ow = s.column * kTile, pixels = std::min(kTile * s.count, f.ow - ow);
      bf16* to = f.y + ((s.image * f.rows + r) * f.oh + oh) * f.ow + ow;
      for (int64_t i = 0; i < std::min<int64_t>(kTile, f.oh - oh); ++i) {
        std::memcpy(static_cast<void*>(to + i * f.ow), &lines[i][place], static_cast<size_t>(pixels) * sizeof(bf16));
      }
    });
  }
}

// ---- the products -----------------------------------------------------------------------------------------------------

// Output rows [row0, row1) of all blocks, in the caller's thread.
void multiply_part(const Blocks& f, const bf16_pair* v, int64_t row0, int64_t row1) {
  const ScopedTiles tiles;
  const bool at_once = f.steps() <= kBlockSteps;
  const Workspace<bf16> u(kProducts * f.u_step());
  const Workspace<float> sums((at_once ? 1 : f.count()) * kProducts * kSums);
  const int64_t no_offset = 0;
  const bool native = isa() >= Isa::avx512_bf16;
  for (int64_t row = row0; row < row1; row += kProductRows) {
    const int64_t rows = std::min(kProductRows, row1 - row);
    for (int64_t step = 0; step < f.steps(); step += kBlockSteps) {
      const int64_t steps = std::min(kBlockSteps, f.steps() - step);
      const bool last = step + steps == f.steps();
      const int64_t rest = last ? f.channels - (f.steps() - 1) * kProductDepth : kProductDepth;  // channels of the last step
      (native ? transform_filters<true> : transform_filters<false>)(f, row, rows, step, steps, u.data());
      for (int64_t b = 0; b < f.count(); ++b) {
        float* sum = sums.data() + (at_once ? 0 : b) * kProducts * kSums;
        const bf16_pair* pairs = v + b * f.block_size() + step * (kProductDepth / 2) * kColumns;
        for (int64_t p = 0; p < kProducts; ++p) {
          const bf16_pair* from = pairs + p * f.v_step();
          bf16_product({.steps = steps, .last_pairs = ceil_div(rest, 2), .a = u.data() + p * f.u_step(), .offsets = &no_offset,
                        .b = {from, from + kTileColumns}, .row_step = kColumns, .c = sum + p * kSums, .accumulate = step > 0});
        }
        if (last) write_outputs(f, b, row, rows, sum);
      }
    }
  }
}

// The transformed picture is shared, each thread has output channels of its own: pixels are few.
void filter(const Blocks& f) {
  const Workspace<bf16> numbers(2 * f.count() * f.block_size());
  bf16_pair* v = reinterpret_cast<bf16_pair*>(numbers.data());
  transform_picture(f, v);
  parallel_for(ceil_div(f.rows, kProductRows), 1, [&](int64_t begin, int64_t end) {
    multiply_part(f, v, begin * kProductRows, std::min(end * kProductRows, f.rows));
  });
}

}  // namespace

void conv2d_forward_winograd_bf16(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  filter({winograd::forward_filtering<bf16, kTile>(x, w, bias, p, y)});
}

void conv2d_input_grad_winograd_bf16(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  filter({winograd::input_grad_filtering<bf16, kTile>(dy, w, p, dx)});
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(conv2d_forward_winograd_bf16);
HWY_EXPORT(conv2d_input_grad_winograd_bf16);

void conv2d_forward_winograd_bf16(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(conv2d_forward_winograd_bf16)(x, w, bias, p, y);
}

void conv2d_input_grad_winograd_bf16(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  HWY_DYNAMIC_DISPATCH(conv2d_input_grad_winograd_bf16)(dy, w, p, dx);
}

// With more pixels F(4x4) has the fewer products for its transforms, even in float32.
bool winograd_bf16_pays(const Tensor& y) {
  constexpr int64_t kMostPixels = 512;
  return isa() == Isa::avx512_bf16 && y.size(0) * y.size(2) * y.size(3) <= kMostPixels;
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
