// What the CUDA variants of the per-tile MLP share: where sizes and layers lie, phi in either layout, a pixel's inputs.
// Sits between ../tensor/definitions/tile_mlp.h and tile_mlp_*.cu.
#pragma once

#include "cuda/common.cuh"
#include "cuda/mma.cuh"

namespace asap::cuda {

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

// phi [B,P,H/tile,W/tile], row-major or channels-last.
template <class T>
struct PhiView {
  T* first;
  int cells;
  int64_t batch_stride, cell_stride, step;  // step: from a tile's number to its next one

  template <class AnyTensor>
  explicit PhiView(AnyTensor& phi) : first(phi.template data<std::remove_const_t<T>>()) {
    const bool by_tile = phi.layout() == Layout::channels_last;
    cells = static_cast<int>(phi.size(2) * phi.size(3));
    cell_stride = by_tile ? pixel_stride(phi) : 1;
    step = by_tile ? 1 : cells;
    batch_stride = by_tile ? cells * cell_stride : phi.size(1) * cells;
  }
  __device__ __forceinline__ T* numbers(int tile) const {
    return first + tile / cells * batch_stride + tile % cells * cell_stride;
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

// What the fused kernels read and write: labels, f32 pictures in rows, phi in f32 or bf16.
bool takes_tile_mlp(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& y);
// Adds a variant of tile_mlp_forward for such tensors of sizes that fit.
void add_tile_mlp_forward(const char* variant,
                          void (*run)(const MlpInput&, const Tensor& phi, const TileMlpSizes&, Tensor& y),
                          bool (*fits)(const TileMlpSizes&));

// Each adds the variants of a file to the slots; called by register_tile_mlp.
void add_tile_mlp_wgmma();     // tile_mlp_wgmma.cu: wgmma_bf16
void add_tile_mlp_mma();       // tile_mlp_mma.cu: fused_bf16, fused_tf32
void add_tile_mlp_fused();     // tile_mlp_fused.cu: fused
void add_tile_mlp_backward();  // tile_mlp_backward.cu: fused_tf32, fused

}  // namespace asap::cuda
