// The per-tile MLP in bf16: what forward and backward share, compiled for each of Highway's targets.
// A tile's pixels run through the layers in strips. Between layers a strip's numbers lie as rows of pairs, [channel/2][pixel][2]:
// what bf16_product reads as B and what its sums become as they are stored. W^T is A: weights of many neighbouring tiles are
// read from phi at once, where they lie beside each other, and put into blocks of 32 outputs x 32 inputs.
// The MLP's own input is made, though most of it is zeros: one-hot rows are a compare each, and 32 inputs more or less cost a
// product in bf16 next to nothing. Next: tile_mlp_bf16_avx512.h, tile_mlp_bf16.cpp, tile_mlp_bf16_backward.cpp.
#if defined(ASAP_TENSOR_CPU_TILE_MLP_BF16_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ASAP_TENSOR_CPU_TILE_MLP_BF16_H
#undef ASAP_TENSOR_CPU_TILE_MLP_BF16_H
#else
#define ASAP_TENSOR_CPU_TILE_MLP_BF16_H
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "hwy/highway.h"
#include "tensor/cpu/bf16_product.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/tile_mlp.h"
#include "tensor/cpu/tile_mlp_bf16_avx512.h"
#include "tensor/cpu/transpose.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/cpu/workspace.h"
#include "tensor/definitions/tile_mlp.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int64_t kSide = kProductRows, kBlock = kSide * kSide;  // of a block of A or of sums
static_assert(kProductColumns == kSide && kProductDepth == kSide);
inline constexpr int64_t kMostColumns = 128;  // of a strip: its numbers between two layers fit the first cache

// A float's bits with a bf16 in the upper half: bf16(float), but for a NaN whose lower half is no zeros.
HWY_INLINE uint32_t rounded(float value) {
  const auto word = std::bit_cast<uint32_t>(value);
  return word + 0x7FFFu + ((word >> 16) & 1u);
}

// A layer whose inputs and outputs are filled up to whole blocks with zeros. Of the first layer's inputs two are left out: the
// last of the sines of X and of Y, of period 2, are zero at whole places, and without them facades 512 has 31 inputs, not 33.
struct BlockedLayer : TileMlpLayer {
  int64_t taken;  // inputs that are not left out; number i of them is input(i) of all
  int64_t in_blocks, out_blocks;
  int64_t in_packed;  // its first block of A in a tile's: [out_blocks][in_blocks][32 outputs][32 inputs]
  int64_t in_biases;  // its first bias in a tile's: [out_blocks][32]
  // The last inputs are cos X, sin X, cos Y, sin Y of period 2.
  int64_t input(int64_t i) const { return taken < in && i == taken - 1 ? in - 2 : i; }
};

struct BlockedSizes : TileMlpSizes {
  std::vector<BlockedLayer> blocked;
  int64_t packed = 0, biases = 0;  // numbers of a tile
  int64_t columns, strips,
      run;  // pixels of a strip, unused ones included; strips of a tile; pixels that lie in one row
  int64_t group, groups_a_picture;  // neighbouring tiles whose weights are read together

  BlockedSizes(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params,
               int64_t most_in_group)
      : TileMlpSizes(labels, x, phi, params),
        columns(std::clamp(pixels(), kSide, kMostColumns)),
        strips(ceil_div(pixels(), columns)),
        run(std::min(tile, kSide)) {
    for (const TileMlpLayer& layer : layers) {
      const int64_t taken = blocked.empty() && waves > 0 ? layer.in - 2 : layer.in;
      const int64_t in_blocks = ceil_div(taken, kSide), out_blocks = ceil_div(layer.out, kSide);
      blocked.push_back({layer, taken, in_blocks, out_blocks, packed, biases});
      packed += in_blocks * out_blocks * kBlock;
      biases += out_blocks * kSide;
    }
    const int64_t fair = batch * cells() / (4 * omp_get_max_threads());  // leave every thread a few groups
    group = std::clamp<int64_t>(fair < 8 ? fair : fair / 8 * 8, 1, most_in_group);
    groups_a_picture = ceil_div(cells(), group);
  }
  int64_t groups() const { return batch * groups_a_picture; }
  // Of a strip between two layers, and what goes into the first.
  int64_t most_values() const {
    int64_t most = 0;
    for (const BlockedLayer& layer : blocked) most = std::max({most, layer.in_blocks, layer.out_blocks});
    return most * kSide * columns;
  }
  // Calls f(first place in the strip, place of its pixel in the picture) for each run of a strip.
  template <class F>
  void for_runs(int64_t cell, int64_t strip, const F& f) const {
    const int64_t first = strip * columns, used = std::min(columns, pixels() - first);
    for (int64_t start = 0; start < used; start += run) {
      const int64_t row = cell / grid_w * tile + (first + start) / tile;
      f(start, row * width + cell % grid_w * tile + (first + start) % tile);
    }
  }
};

// Zeroed scratch memory.
template <class T>
class Zeroed : public Workspace<T> {
 public:
  explicit Zeroed(int64_t count) : Workspace<T>(count) { std::fill_n(this->data(), count, T{}); }
};

// The weights of a group of tiles, as A blocks, and their biases.
class PackedTiles {
 public:
  explicit PackedTiles(const BlockedSizes& sizes)
      : sizes_(sizes),
        stride_(sizes.packed + kSide),
        weights_(sizes.group * stride_),
        biases_(sizes.group * sizes.biases) {}

  // phi: the first tile's first number.
  void read(const bf16* phi, int64_t count) {
    const int64_t cells = sizes_.cells();
    for (const BlockedLayer& layer : sizes_.blocked) {
      for (int64_t o = 0; o < layer.out; ++o) {
        const bf16* bias = phi + (layer.bias + o) * cells;
        for (int64_t t = 0; t < count; ++t) biases_.data()[t * sizes_.biases + layer.in_biases + o] = bias[t];
      }
      constexpr int64_t kRows = 8;  // inputs walked side by side, each at equal steps
      const int64_t even = layer.taken < layer.in ? layer.taken - 1 : layer.in;
      for (int64_t i = 0; i < even; i += kRows) read_inputs(phi, layer, i, std::min(kRows, even - i), count);
      for (int64_t i = even; i < layer.taken; ++i) read_inputs(phi, layer, i, 1, count);
    }
  }
  const bf16* weights(int64_t t, const BlockedLayer& layer) const {
    return weights_.data() + t * stride_ + layer.in_packed;
  }
  const float* biases(int64_t t, const BlockedLayer& layer) const {
    return biases_.data() + t * sizes_.biases + layer.in_biases;
  }

 private:
  // The weights of `rows` inputs that follow each other.
  void read_inputs(const bf16* phi, const BlockedLayer& layer, int64_t i, int64_t rows, int64_t count) {
    const int64_t cells = sizes_.cells();
    for (int64_t o = 0; o < layer.out; ++o) {
      const int64_t block = o / kSide * layer.in_blocks + i / kSide;
      const bf16* from = phi + (layer.weight + layer.input(i) * layer.out + o) * cells;
      constexpr int64_t kAhead = 8;  // outputs: a line of each is too little for the processor to expect the next
      for (int64_t r = 0; r < rows; ++r) __builtin_prefetch(from + (r * layer.out + kAhead) * cells);
      transpose(from, layer.out * cells, rows, count,
                weights_.data() + layer.in_packed + block * kBlock + o % kSide * kSide + i % kSide, stride_);
    }
  }

  const BlockedSizes& sizes_;
  const int64_t stride_;  // from tile to tile: at whole KiB they would all lie in the same few sets of the cache
  Zeroed<bf16> weights_;
  Zeroed<float> biases_;
};

// What a strip's pixels feed to the first layer, as blocks of rows: [in_blocks][columns/32][32 inputs][32 pixels].
class StripInput {
 public:
  StripInput(const BlockedSizes& sizes, const Tensor& labels, const Tensor& x)
      : sizes_(sizes),
        labels_(labels),
        x_(x),
        first_wave_(sizes.classes + sizes.channels),
        waves_count_(sizes.blocked.front().taken - first_wave_),
        waves_(waves_count_ * sizes.strips * sizes.columns) {
    for (int64_t i = 0; i < waves_count_; ++i) {
      const int64_t k = sizes.blocked.front().input(first_wave_ + i) - first_wave_;
      for (int64_t pixel = 0; pixel < sizes.pixels(); ++pixel) {
        const int64_t place = k % 4 < 2 ? pixel % sizes.tile : pixel / sizes.tile;
        const double wave = definitions::tile_position(k, place, sizes.tile);
        waves_.data()[i * sizes.strips * sizes.columns + pixel] = bf16(static_cast<float>(wave));
      }
    }
  }

  // `rows` was zeroed once: unused pixels and inputs are left as they are.
  void read(int64_t n, int64_t cell, int64_t strip, bf16* rows) const {
    if (labels_.defined())
      labels_.dtype() == DType::u8 ? read_labels<uint8_t>(n, cell, strip, rows)
                                   : read_labels<int32_t>(n, cell, strip, rows);
    if (x_.defined())
      x_.dtype() == DType::bf16 ? read_x<bf16>(n, cell, strip, rows) : read_x<float>(n, cell, strip, rows);
    const int64_t length = sizes_.strips * sizes_.columns;
    for (int64_t i = 0; i < waves_count_; ++i) {
      for (int64_t at = 0; at < sizes_.columns; at += kSide) {
        std::memcpy(row(rows, first_wave_ + i, at), waves_.data() + i * length + strip * sizes_.columns + at,
                    kSide * sizeof(bf16));
      }
    }
  }

 private:
  // Of input i, from pixel `at` on.
  bf16* row(bf16* rows, int64_t i, int64_t at) const {
    return rows + (i / kSide * (sizes_.columns / kSide) + at / kSide) * kBlock + i % kSide * kSide + at % kSide;
  }
  template <class T>
  void read_labels(int64_t n, int64_t cell, int64_t strip, bf16* rows) const {
    constexpr uint16_t kNone = 0xFFFF, kOne = 0x3F80;
    uint16_t numbers[kMostColumns];
    std::fill_n(numbers, kMostColumns, kNone);
    const T* from = labels_.data<T>() + n * sizes_.plane();
    const auto classes = static_cast<int32_t>(sizes_.classes);
    sizes_.for_runs(cell, strip, [&](int64_t start, int64_t at) {
      for (int64_t i = 0; i < sizes_.run; ++i) {
        const int32_t label = from[at + i];
        numbers[start + i] = label >= 0 && label < classes ? static_cast<uint16_t>(label) : kNone;
      }
    });
    for (int64_t at = 0; at < sizes_.columns; at += kSide) {
      for (int64_t c = 0; c < sizes_.classes; ++c) {
        Half* to = reinterpret_cast<Half*>(row(rows, c, at));
        for (int64_t j = 0; j < kSide; ++j) to[j] = numbers[at + j] == static_cast<uint16_t>(c) ? kOne : uint16_t{0};
      }
    }
  }
  template <class T>
  void read_x(int64_t n, int64_t cell, int64_t strip, bf16* rows) const {
    const T* from = x_.data<T>() + n * sizes_.channels * sizes_.plane();
    sizes_.for_runs(cell, strip, [&](int64_t start, int64_t at) {
      for (int64_t c = 0; c < sizes_.channels; ++c) {
        const T* numbers = from + c * sizes_.plane() + at;
        bf16* to = row(rows, sizes_.classes + c, start);
        for (int64_t i = 0; i < sizes_.run; ++i) to[i] = bf16(static_cast<float>(numbers[i]));
        // Too short and too far apart for the processor to expect: the strip below.
        const auto* below = reinterpret_cast<const char*>(numbers + sizes_.columns / sizes_.tile * sizes_.width);
        for (int64_t i = 0; i < sizes_.run * static_cast<int64_t>(sizeof(T)); i += 64) __builtin_prefetch(below + i);
      }
    });
  }

  const BlockedSizes& sizes_;
  const Tensor &labels_, &x_;
  const int64_t first_wave_, waves_count_;  // of the inputs that are taken
  Zeroed<bf16> waves_;                      // [waves_count_][pixels of a tile]
};

// Blocks of rows, [blocks][columns/32][32][32], as rows of pairs, [blocks * 16][columns][2].
HWY_INLINE void interleave(const bf16* rows, int64_t blocks, int64_t columns, bf16* pairs) {
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t at = 0; at < columns; at += kSide, rows += kBlock) {
      for (int64_t r = 0; r < kSide; r += 2) {
        const Half *even = reinterpret_cast<const Half*>(rows + r * kSide), *odd = even + kSide;
        Pair* to = reinterpret_cast<Pair*>(pairs) + (block * kSide + r) / 2 * columns + at;
        for (int64_t j = 0; j < kSide; ++j) to[j] = even[j] | static_cast<uint32_t>(odd[j]) << 16;
      }
    }
  }
}

// Sums of 32 channels at 32 pixels, [32][32], become act(sums + bias): as rows of pairs, `columns` apart, and in the backward
// pass as a block of rows, too.
template <bool kRows>
HWY_INLINE void store_hidden(const float* sums, const float* bias, float slope, int64_t columns, bf16* pairs,
                             bf16* rows) {
  for (int64_t r = 0; r < kSide; r += 2) {
    const float *even = sums + r * kSide, *odd = even + kSide;
    const float even_bias = bias[r], odd_bias = bias[r + 1];
    Pair* to = reinterpret_cast<Pair*>(pairs) + r / 2 * columns;
    [[maybe_unused]] Half* row = kRows ? reinterpret_cast<Half*>(rows + r * kSide) : nullptr;
    for (int64_t j = 0; j < kSide; ++j) {
      const float u = even[j] + even_bias, v = odd[j] + odd_bias;
      const uint32_t low = rounded(u > 0 ? u : slope * u) >> 16, high = rounded(v > 0 ? v : slope * v) & 0xFFFF0000u;
      to[j] = low | high;
      if constexpr (kRows) {
        row[j] = static_cast<uint16_t>(low);
        row[kSide + j] = static_cast<uint16_t>(high >> 16);
      }
    }
  }
}

// sums [32][32], rows ldc apart, (+)= A B with A [steps][32][32] and B rows of pairs, row_step apart.
HWY_INLINE Bf16Product product(const bf16* a, int64_t steps, const bf16* pairs, int64_t row_step, float* sums,
                               int64_t ldc = kSide, bool accumulate = false) {
  static constexpr int64_t kNoOffset = 0;
  const auto* b = reinterpret_cast<const bf16_pair*>(pairs);
  return {.runs = 1,
          .steps = steps,
          .a = a,
          .offsets = &kNoOffset,
          .b = {b, b + kTileColumns},
          .row_step = row_step,
          .c = sums,
          .ldc = ldc,
          .accumulate = accumulate};
}

// Whether blocks of sums need not go through memory (tile_mlp_bf16_avx512.h).
HWY_INLINE bool sums_stay_in_registers() { return isa() == Isa::avx512_bf16; }

// A hidden layer of a strip, from pairs to pairs; rows: undefined unless kRows.
template <bool kRows>
HWY_INLINE void run_hidden(const BlockedLayer& layer, const bf16* weights, const float* biases, float slope,
                           int64_t columns, const bf16* z, bf16* next, bf16* rows) {
  alignas(64) float sums[kBlock];
  for (int64_t o = 0; o < layer.out_blocks; ++o) {
    for (int64_t at = 0; at < columns; at += kSide) {
      const Bf16Product block = product(weights + o * layer.in_blocks * kBlock, layer.in_blocks, z + 2 * at, columns, sums);
      const float* bias = biases + o * kSide;
      bf16* pairs = next + (o * kSide / 2 * columns + at) * 2;
      bf16* block_rows = kRows ? rows + (o * columns + at) * kSide : nullptr;
      if constexpr (HWY_TARGET == HWY_AVX3) {
        if (sums_stay_in_registers()) {
          hidden_block_avx512(block, bias, slope, columns, pairs, block_rows);
          continue;
        }
      }
      bf16_product(block);
      store_hidden<kRows>(sums, bias, slope, columns, pairs, block_rows);
    }
  }
}

// The last layer has few outputs: blocks of 32 would mostly be filled with zeros, so its sums are plain loops over pairs.
class LastLayer {
 public:
  explicit LastLayer(const BlockedSizes& sizes)
      : layer_(sizes.blocked.back()), columns_(sizes.columns), weights_(layer_.out * inputs()) {}

  // weights: its blocks in a tile's.
  void prepare(const bf16* weights, const float* biases) {
    for (int64_t o = 0; o < layer_.out; ++o) {
      for (int64_t i = 0; i < inputs(); ++i) {
        const int64_t block = o / kSide * layer_.in_blocks + i / kSide;
        weights_.data()[o * inputs() + i] = weights[block * kBlock + o % kSide * kSide + i % kSide];
      }
    }
    biases_ = biases;
  }
  // y [out][columns] = tanh(z W + bias), z rows of pairs.
  void run(const bf16* z, float* y) const {
    int64_t o = 0;
    for (; o + 3 <= layer_.out; o += 3) sum<3>(z, o, y);
    for (; o < layer_.out; ++o) sum<1>(z, o, y);
    for (int64_t i = 0; i < layer_.out * columns_; ++i) y[i] = vector_math::tanh(y[i]);
  }

 private:
  int64_t inputs() const { return layer_.in_blocks * kSide; }
  template <int kM>
  void sum(const bf16* z, int64_t o, float* y) const {
    const hn::ScalableTag<float> d;
    const hn::RebindToUnsigned<decltype(d)> bits;
    const auto lanes = static_cast<int64_t>(hn::Lanes(d));
    const auto upper = hn::Set(bits, 0xFFFF0000u);
    for (int64_t at = 0; at < columns_; at += 2 * lanes) {
      hn::Vec<decltype(d)> sums[kM][2];
      for (int m = 0; m < kM; ++m) sums[m][0] = sums[m][1] = hn::Set(d, biases_[o + m]);
      const Pair* pairs = reinterpret_cast<const Pair*>(z) + at;
      const float* weights = weights_.data() + o * inputs();
      for (int64_t i = 0; i < inputs(); i += 2, pairs += columns_) {
        const auto a = hn::LoadU(bits, pairs), b = hn::LoadU(bits, pairs + lanes);
        const auto even_a = hn::BitCast(d, hn::ShiftLeft<16>(a)), odd_a = hn::BitCast(d, hn::And(a, upper));
        const auto even_b = hn::BitCast(d, hn::ShiftLeft<16>(b)), odd_b = hn::BitCast(d, hn::And(b, upper));
        for (int m = 0; m < kM; ++m) {
          const auto even = hn::Set(d, weights[m * inputs() + i]), odd = hn::Set(d, weights[m * inputs() + i + 1]);
          sums[m][0] = hn::MulAdd(odd_a, odd, hn::MulAdd(even_a, even, sums[m][0]));
          sums[m][1] = hn::MulAdd(odd_b, odd, hn::MulAdd(even_b, even, sums[m][1]));
        }
      }
      for (int m = 0; m < kM; ++m) {
        hn::StoreU(sums[m][0], d, y + (o + m) * columns_ + at);
        hn::StoreU(sums[m][1], d, y + (o + m) * columns_ + at + lanes);
      }
    }
  }

  const BlockedLayer& layer_;
  int64_t columns_;
  Workspace<float> weights_;  // [out][inputs]
  const float* biases_ = nullptr;
};

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif
