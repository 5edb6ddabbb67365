// What the CUDA variants of the per-tile MLP share: where sizes and layers lie, phi in either layout, the positional
// encoding. Sits between ../tensor/kernels.h (the definition) and tile_mlp.cu (`naive`), tile_mlp_*.cu (fused).
#pragma once

#include "cuda/common.cuh"
#include "cuda/mma.cuh"

namespace asap::cuda {

// One linear layer; bias and weight are the first of its channels in phi (weight row-major (in, out)).
struct TileMlpLayer {
  int in, out, bias, weight;
};

// Handed to kernels by value.
struct TileMlpSizes {
  int batch, channels, height, width;  // of the picture; channels without the positional ones
  int tile, log_tile, grid_w, cells;   // side of a tile; cells = tiles a picture
  int inputs, hidden, depth, out, parameters;
  double slope;

  TileMlpSizes(int64_t batch_, int64_t channels_, int64_t height_, int64_t width_, const TileMlpParams& p)
      : batch(static_cast<int>(batch_)),
        channels(static_cast<int>(channels_)),
        height(static_cast<int>(height_)),
        width(static_cast<int>(width_)),
        tile(static_cast<int>(p.tile)),
        log_tile(std::countr_zero(static_cast<uint64_t>(p.tile))),
        grid_w(width / tile),
        cells(height / tile * grid_w),
        inputs(channels + 4 * log_tile),
        hidden(static_cast<int>(p.width)),
        depth(static_cast<int>(p.depth)),
        out(static_cast<int>(p.out)),
        slope(p.slope) {
    const TileMlpLayer last = layer(depth - 1);
    parameters = last.weight + last.in * last.out;
  }
  TileMlpSizes(const Tensor& labels, const Tensor& instance, const TileMlpLabelsParams& p)
      : TileMlpSizes(labels.size(0), p.classes + (instance.defined() ? 1 : 0), labels.size(1), labels.size(2), p.mlp) {}
  TileMlpSizes(const Tensor& x, const TileMlpParams& p) : TileMlpSizes(x.size(0), x.size(1), x.size(2), x.size(3), p) {}

  __host__ __device__ TileMlpLayer layer(int l) const {
    const int in = l == 0 ? inputs : hidden, outs = l + 1 == depth ? out : hidden;
    const int bias = l == 0 ? 0 : hidden * (1 + inputs) + (l - 1) * hidden * (1 + hidden);
    return {in, outs, bias, bias + outs};
  }
  __host__ __device__ int64_t plane() const { return static_cast<int64_t>(height) * width; }
  // The tile that holds a pixel of the picture.
  __host__ __device__ int cell_of(int row, int column) const {
    return (row >> log_tile) * grid_w + (column >> log_tile);
  }
};

// phi [B,P,H/tile,W/tile] or, tile by tile, [B,H/tile,W/tile,P]; P may be more than the MLP's parameters.
template <class T>
struct PhiView {
  T* first;
  int64_t batch_stride, cell_stride, step;  // step: from a tile's number to its next one

  template <class AnyTensor>
  PhiView(AnyTensor& phi, Layout layout) : first(phi.template data<std::remove_const_t<T>>()) {
    const bool nchw = layout == Layout::row_major;
    const int64_t cells = nchw ? phi.size(2) * phi.size(3) : phi.size(1) * phi.size(2),
                  channels = phi.size(nchw ? 1 : 3);
    batch_stride = channels * cells;
    cell_stride = nchw ? 1 : channels;
    step = nchw ? cells : 1;
  }
  __device__ __forceinline__ T* tile(int b, int cell) const { return first + b * batch_stride + cell * cell_stride; }
};

// Positional input k (0 .. 4 log2(tile) - 1) at a pixel's place in its tile: cos X, sin X, cos Y, sin Y for period tile, then
// for tile / 2, ..: every period divides the tile, so that the place in the tile is all that counts.
template <class T>
__device__ __forceinline__ T positional_input(int k, int column, int row, int tile) {
  const int period = tile >> k / 4, place = (k % 4 < 2 ? column : row) & (period - 1);
  const double turns = 2.0 * place / period;
  return static_cast<T>(k % 2 == 0 ? cospi(turns) : sinpi(turns));
}

// SPEC section 6: [-1, 1] to 8 bits; the fraction is cut off, a NaN becomes 0.
template <class T>
__device__ __forceinline__ uint8_t picture_value(T v) {
  const T scaled = (v + 1) / 2 * 255;
  return static_cast<uint8_t>(scaled >= 0 ? min(scaled, T(255)) : T(0));
}

// Each adds the variants of a file to the slots; called by register_tile_mlp.
void add_tile_mlp_wgmma();     // tile_mlp_wgmma.cu: wgmma_bf16
void add_tile_mlp_mma();       // tile_mlp_mma.cu: fused_bf16, fused_tf32
void add_tile_mlp_fused();     // tile_mlp_fused.cu: fused
void add_tile_mlp_backward();  // tile_mlp_backward.cu: fused_tf32, fused

}  // namespace asap::cuda
