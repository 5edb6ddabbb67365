// What the CUDA variants of the per-tile MLP share: where sizes and layers lie, a tile's numbers, a pixel's inputs and outputs.
// Sits between ../tensor/definitions/tile_mlp.h and tile_mlp_*.cu.
#pragma once

#include "cuda/common.cuh"
#include "cuda/mma.cuh"
#include "tensor/picture_value.h"

namespace asap::cuda {

constexpr int kHidden = 64, kOutputs = 8;  // channels that the kernels compute: of hidden layers and of the last, both at most

// One linear layer; bias and weight are the first of its channels in phi (weight row-major (in, out)).
struct TileMlpLayer {
  int in, out, bias, weight;
};

// Handed to kernels by value. A tile is side x side pixels; `tile` is its number among those of all pictures.
struct TileMlpSizes {
  int batch, height, width, classes, channels;  // channels: the classes' planes and x's, without the positional ones
  int side, log_side, grid_w, cells;            // cells: tiles of a picture
  int inputs, hidden, depth, out;
  double slope;

  // One of labels [B,H,W] and x [B,C,H,W] may be undefined.
  TileMlpSizes(const Tensor& labels, const Tensor& x, const TileMlpParams& p)
      : batch(static_cast<int>((labels.defined() ? labels : x).size(0))),
        height(static_cast<int>(labels.defined() ? labels.size(1) : x.size(2))),
        width(static_cast<int>(labels.defined() ? labels.size(2) : x.size(3))),
        classes(labels.defined() ? static_cast<int>(p.classes) : 0),
        channels(classes + (x.defined() ? static_cast<int>(x.size(1)) : 0)),
        side(static_cast<int>(p.tile)),
        log_side(std::countr_zero(static_cast<uint64_t>(p.tile))),
        grid_w(width / side),
        cells(height / side * grid_w),
        inputs(channels + 4 * log_side),
        hidden(static_cast<int>(p.width)),
        depth(static_cast<int>(p.depth)),
        out(static_cast<int>(p.out)),
        slope(p.slope) {}

  __host__ __device__ TileMlpLayer layer(int l) const {
    const int in = l == 0 ? inputs : hidden, outs = l + 1 == depth ? out : hidden;
    const int bias = l == 0 ? 0 : hidden * (1 + inputs) + (l - 1) * hidden * (1 + hidden);
    return {in, outs, bias, bias + outs};
  }
  __host__ __device__ int x_channels() const { return channels - classes; }
  __host__ __device__ int64_t plane() const { return static_cast<int64_t>(height) * width; }
};

// Calls f(numbers, pitch) with phi's tiles in f32 or bf16, each one's numbers side by side and `pitch` from the next one's: channels
// last, to which row-major phi, where they lie a picture's tiles apart, is brought first.
template <class F>
void with_tiles(const Tensor& phi, const F& f) {
  const Tensor tiles = phi.to(Layout::channels_last);
  const int64_t pitch = pixel_stride(tiles);
  tiles.dtype() == DType::bf16 ? f(tiles.data<bf16>(), pitch) : f(tiles.data<float>(), pitch);
}

// Of a tile's numbers those of a layer; zeros where it has none.
template <class Weight>
struct LayerNumbers {
  const Weight* numbers;
  TileMlpLayer layer;
  __device__ __forceinline__ float bias(int column) const {
    return column < layer.out ? static_cast<float>(numbers[layer.bias + column]) : 0.0f;
  }
  __device__ __forceinline__ float weight(int row, int column) const {
    const bool has = row < layer.in && column < layer.out;
    return has ? static_cast<float>(numbers[layer.weight + row * layer.out + column]) : 0.0f;
  }
};

// Positional input k (0 .. 4 log2(side) - 1) at a pixel's place in its tile, its column where k % 4 < 2, else its row: cosine and
// sine for periods of side, side / 2, ..; every one divides the tile.
__device__ __forceinline__ float positional_input(int k, int place, int side) {
  const int period = side >> k / 4;
  const float turns = 2.0f * static_cast<float>(place & (period - 1)) / static_cast<float>(period);
  return k % 2 == 0 ? cospif(turns) : sinpif(turns);
}

// A pixel's channels but the positional ones.
struct MlpInput {
  const void* labels;  // [B,H,W] u8 or i32, or null
  const float* x;      // [B,C,H,W] or null
  bool bytes;          // labels are u8

  MlpInput(const Tensor& l, const Tensor& x_)
      : labels(l.defined() ? l.raw() : nullptr),
        x(x_.defined() ? x_.data<float>() : nullptr),
        bytes(l.defined() && l.dtype() == DType::u8) {}

  // The pixel's class, s.classes if it has none.
  __device__ __forceinline__ int label(int b, int pixel, const TileMlpSizes& s) const {
    if (!labels) return s.classes;
    const int64_t at = b * s.plane() + pixel;
    const unsigned number =
        bytes ? unsigned{static_cast<const uint8_t*>(labels)[at]} : static_cast<const uint32_t*>(labels)[at];
    return static_cast<int>(min(number, static_cast<unsigned>(s.classes)));
  }
  // x's channels of the pixel, s.plane() apart.
  __device__ __forceinline__ const float* channels(int b, int pixel, const TileMlpSizes& s) const {
    return x ? x + b * s.x_channels() * s.plane() + pixel : nullptr;
  }
};

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

// Whether a fused kernel holds such an MLP.
inline bool has_fused_sizes(const TileMlpSizes& s) {
  return s.batch > 0 && s.depth >= 2 && s.hidden <= kHidden && s.out <= kOutputs;
}
// What the fused kernels read and write: labels, f32 pictures in rows, phi in f32 or bf16.
bool takes_tile_mlp(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& y);
// Adds a variant of tile_mlp_forward for such tensors of sizes that fit.
void add_tile_mlp_forward(const char* variant,
                          void (*run)(const MlpInput&, const Tensor& phi, const TileMlpSizes&, Tensor& y),
                          bool (*fits)(const TileMlpSizes&));

// Each adds the variants of a file to the slots; called by register_tile_mlp.
void add_tile_mlp_wgmma();     // tile_mlp_wgmma.cu: wgmma_bf16
void add_tile_mlp_fused();     // tile_mlp_fused.cu: fused_bf16, fused_tf32, fused
void add_tile_mlp_backward();  // tile_mlp_backward.cu: fused_tf32, fused

}  // namespace asap::cuda
