// phi, packed for the fused variants: every tile's weights in one run of 4-byte words, padded with zeros to kHidden hidden
// channels and kOutputs outputs, in the order in which a kernel reads them from shared memory. A tile of phi [B,P,cells] is
// a column whose numbers lie `cells` apart: read by the kernels themselves, each would cost a sector of 32 bytes (120 MB for
// facades 512). Packing moves 15 MB in and out of L2 once instead, and the kernels copy 16 bytes a thread.
// Read by tile_mlp_fused.cu, tile_mlp_mma.cu and tile_mlp_wgmma.cu; written by tile_mlp_pack.cu.
#pragma once

#include "cuda/tile_mlp.cuh"
#include "tensor/picture_value.h"

namespace asap::cuda {

constexpr int kHidden = 64, kOutputs = 8;  // channels of the packed layers

// f32     rows of W as they are
// tf32    operand B of mma_tf32, numbers rounded: a lane's registers for two 8 x 8 blocks lie side by side, 16 bytes.
//         Row t of a block is channel 2t, row t + 4 is channel 2t + 1, so that the sums of one layer are, in place,
//         operand A of the next one
// bf16    operand B of mma_bf16, the same for two blocks of 16 x 8, two rows a word
// tf32_rows  rows of W as they are, numbers rounded
// bf16_rows  biases and weights as a tile's numbers of channels-last phi in bf16 of an MLP of kHidden hidden channels, two a word
enum class PackFormat { f32, tf32, bf16, tf32_rows, bf16_rows };

// Rows that one step of a product takes: inputs are padded to as many.
__host__ __device__ constexpr int rows_of_step(PackFormat format) {
  return format == PackFormat::bf16 ? 16 : format == PackFormat::tf32 ? 8 : 1;
}

// Where a tile's packed layers lie, in words: each its bias in f32, then its weights.
struct PackedMlp {
  int first, hidden, last;  // words of layer 0, of each layer between, of the last one
  int depth, words;         // words: of a tile
  float slope;

  // depth must be at least 2.
  PackedMlp(const TileMlpSizes& s, PackFormat format) : depth(s.depth), slope(static_cast<float>(s.slope)) {
    if (format == PackFormat::bf16_rows) {
      first = (1 + s.inputs) * kHidden / 2;
      hidden = (1 + kHidden) * kHidden / 2;
      last = static_cast<int>(ceil_div((1 + kHidden) * s.out, 2));
      words = static_cast<int>(ceil_div(first + (depth - 2) * hidden + last, 4)) * 4;
      return;
    }
    const int step = rows_of_step(format), in = static_cast<int>(ceil_div(s.inputs, step)) * step;
    const int rows_a_word = format == PackFormat::bf16 ? 2 : 1;
    first = kHidden + in * kHidden / rows_a_word;
    hidden = kHidden + kHidden * kHidden / rows_a_word;
    last = kOutputs + kHidden * kOutputs / rows_a_word;
    words = first + (depth - 2) * hidden + last;
  }
  __host__ __device__ int layer_of(int word) const {
    return word < first ? 0 : min((word - first) / hidden + 1, depth - 1);
  }
  __host__ __device__ int offset(int layer) const { return layer == 0 ? 0 : first + (layer - 1) * hidden; }
  size_t bytes() const { return static_cast<size_t>(words) * 4; }
};

// [tiles, words], f32 by name: words of the format. phi f32 or bf16.
Tensor pack_phi(const Tensor& phi, const TileMlpSizes& s, PackFormat format);

// dphi, all of it, from the sums of `parts` parts of every tile, [parts, tiles, words] in the order of
// PackFormat::f32: the parts are added in order.
void unpack_grads(const Tensor& partial, int parts, const TileMlpSizes& s, Tensor& dphi);

// Whether the sizes are those that the packed layers hold.
inline bool packs(const TileMlpSizes& s) {
  return s.batch > 0 && s.depth >= 2 && s.hidden <= kHidden && s.out <= kOutputs;
}

// Starts the copy of a tile's words into shared memory; done after copy_wait<0>() and a barrier.
__device__ __forceinline__ void copy_packed(const float* from, int words, float* to) {
#pragma unroll 1
  for (int i = 4 * static_cast<int>(threadIdx.x); i < words; i += 4 * static_cast<int>(blockDim.x))
    copy_async<16>(to + i, from + i);
  copy_commit();
}

// How a grid splits tiles: block (tile, part), so that one wave of blocks fills the card. `resident` blocks of `warps` warps
// run on a multiprocessor at a time; a warp takes chunks of 32 pixels.
struct TileGrid {
  int chunks, parts;
  TileGrid(const TileMlpSizes& s, int warps, int resident)
      : chunks(static_cast<int>(ceil_div(s.side * s.side, kWarp))) {
    const int tiles = s.batch * s.cells, most = static_cast<int>(ceil_div(chunks, warps));
    parts = std::clamp(resident * card().multiprocessors / tiles, 1, most);
  }
  dim3 blocks(const TileMlpSizes& s) const {
    return {static_cast<unsigned>(s.batch * s.cells), static_cast<unsigned>(parts)};
  }
};

// ---- what goes in and comes out -------------------------------------------------------------------------------------

// A tile: its picture and where its pixels lie.
struct MlpTile {
  int b, top, left;
  __device__ __forceinline__ MlpTile(int tile, const TileMlpSizes& s) : b(tile / s.cells) {
    const int cell = tile % s.cells;
    top = cell / s.grid_w << s.log_side;
    left = cell % s.grid_w << s.log_side;
  }
  __device__ __forceinline__ MlpTile(int picture, int row, int column, const TileMlpSizes& s)
      : b(picture), top(row << s.log_side), left(column << s.log_side) {}
  // A pixel of the picture's plane; q counts the tile's pixels row by row.
  __device__ __forceinline__ int pixel(int q, const TileMlpSizes& s) const {
    return (top + (q >> s.log_side)) * s.width + left + (q & (s.side - 1));
  }
};

// To 1e-6 of 1, far below the rounding of the operands.
__device__ __forceinline__ float quick_tanh(float x) { return 1.0f - __fdividef(2.0f, __expf(2.0f * x) + 1.0f); }

// y [B,out,H,W], or a picture [B,H,W,out].
struct MlpOutput {
  float* values;
  uint8_t* picture;

  explicit MlpOutput(Tensor& y)
      : values(y.dtype() == DType::f32 ? y.data<float>() : nullptr),
        picture(y.dtype() == DType::u8 ? y.data<uint8_t>() : nullptr) {}
  __device__ __forceinline__ void write(int b, int channel, int pixel, float value, const TileMlpSizes& s) const {
    if (picture) {
      picture[(b * s.plane() + pixel) * s.out + channel] = picture_value(value);
    } else {
      values[(static_cast<int64_t>(b) * s.out + channel) * s.plane() + pixel] = value;
    }
  }
};

}  // namespace asap::cuda
