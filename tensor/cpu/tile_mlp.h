// What the fused kernels of the per-tile MLP share: its sizes, and where its layers lie in phi.
// The definition: ../definitions/tile_mlp.h. Next: tile_mlp_panels.h, tile_mlp_fused.h.
#pragma once

#include <algorithm>
#include <vector>

#include "tensor/kernels.h"

namespace asap::cpu {

// One linear layer; bias and weight are the first of its channels in phi (weight row-major (in, out)).
struct TileMlpLayer {
  int64_t in, out, bias, weight;
  bool last;
};

struct TileMlpSizes {
  int64_t batch, height, width;              // of the picture
  int64_t tile, grid_h, grid_w;              // side of a tile; grid_h * grid_w tiles a picture
  int64_t classes, channels, waves, inputs;  // of labels, of x, 4 * log2(tile); their sum
  int64_t parameters;                        // channels of phi
  std::vector<TileMlpLayer> layers;

  TileMlpSizes(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params)
      : batch(phi.size(0)), height(phi.size(2) * params.tile), width(phi.size(3) * params.tile), tile(params.tile),
        grid_h(phi.size(2)), grid_w(phi.size(3)), classes(labels.defined() ? params.classes : 0),
        channels(x.defined() ? x.size(1) : 0), waves(0), parameters(0) {
    for (int64_t f = tile; f > 1; f /= 2) waves += 4;
    inputs = classes + channels + waves;
    for (int64_t l = 0, in = inputs; l < params.depth; ++l) {
      const bool last = l + 1 == params.depth;
      const int64_t out = last ? params.out : params.width;
      layers.push_back({in, out, parameters, parameters + out, last});
      parameters += out + in * out;
      in = out;
    }
  }
  int64_t cells() const { return grid_h * grid_w; }
  int64_t pixels() const { return tile * tile; }
  int64_t plane() const { return height * width; }
  // The widest layer output.
  int64_t widest() const {
    int64_t most = 0;
    for (const TileMlpLayer& layer : layers) most = std::max(most, layer.out);
    return most;
  }
};

void tile_mlp_forward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y);
void tile_mlp_backward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                             const TileMlpParams& params, Tensor& dx, Tensor& dphi);

// phi and dphi in bf16; x and dx in f32 or bf16; y in f32 or bytes; dy in f32: tile_mlp_bf16*.cpp.
void tile_mlp_forward_bf16_blocks(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y);
void tile_mlp_backward_bf16_blocks(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                                   const TileMlpParams& params, Tensor& dx, Tensor& dphi);

}  // namespace asap::cpu
