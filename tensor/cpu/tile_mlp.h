// What the variants of the per-tile MLP share: where its sizes and layers lie in phi, and the positional encoding.
// Sits between kernels.h (the definition) and tile_mlp.cpp (`naive`), tile_mlp_composed.cpp, tile_mlp_fused*.cpp.
#pragma once

#include <cmath>
#include <vector>

#include "tensor/kernels.h"

namespace asap::cpu {

// One linear layer; bias and weight are the first of its channels in phi (weight row-major (in, out)).
struct TileMlpLayer {
  int64_t in, out, bias, weight;
};

struct TileMlpSizes {
  int64_t batch, channels, height, width;  // of x
  int64_t tile, grid_h, grid_w;            // side of a tile; grid_h * grid_w tiles a picture
  int64_t inputs;                          // channels + 4 * log2(tile)
  int64_t parameters;                      // channels of phi
  std::vector<TileMlpLayer> layers;

  TileMlpSizes(const Tensor& x, const TileMlpParams& params) : TileMlpSizes(x.shape(), params) {}
  TileMlpSizes(const Shape& x, const TileMlpParams& params)
      : batch(x[0]), channels(x[1]), height(x[2]), width(x[3]), tile(params.tile),
        grid_h(height / tile), grid_w(width / tile), inputs(channels), parameters(0) {
    for (int64_t f = tile; f > 1; f /= 2) inputs += 4;
    for (int64_t l = 0, in = inputs; l < params.depth; ++l) {
      const int64_t out = l + 1 < params.depth ? params.width : params.out;
      layers.push_back({in, out, parameters, parameters + out});
      parameters += out + in * out;
      in = out;
    }
  }
  int64_t cells() const { return grid_h * grid_w; }
  int64_t pixels() const { return tile * tile; }
  // The widest layer output.
  int64_t widest() const {
    int64_t most = 0;
    for (const TileMlpLayer& layer : layers) most = std::max(most, layer.out);
    return most;
  }
};

// The 4*log2(tile) positional inputs. They depend on a pixel's place inside its tile alone, because every period f
// divides the tile: X is taken modulo f before the division.
template <class T>
class PositionalEncoding {
 public:
  explicit PositionalEncoding(int64_t tile) : tile_(tile) {
    for (int64_t f = tile; f > 1; f /= 2) {
      for (const bool sine : {false, true}) {
        for (int64_t i = 0; i < tile; ++i) {
          const double angle = 2 * M_PI * static_cast<double>(i % f) / static_cast<double>(f);
          waves_.push_back(static_cast<T>(sine ? std::sin(angle) : std::cos(angle)));
        }
      }
    }
  }
  // Feature k runs over cos X, sin X, cos Y, sin Y for f = tile, then for f = tile/2, ...
  bool along_x(int64_t k) const { return k % 4 < 2; }
  // Its `tile` values by column (along_x) or by row.
  const T* wave(int64_t k) const { return waves_.data() + (k / 4 * 2 + k % 2) * tile_; }
  T value(int64_t k, int64_t px, int64_t py) const { return wave(k)[along_x(k) ? px : py]; }

 private:
  int64_t tile_;
  std::vector<T> waves_;  // [2 * log2(tile), tile]
};

void tile_mlp_forward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y);
void tile_mlp_backward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                             const TileMlpParams& params, Tensor& dx, Tensor& dphi);

}  // namespace asap::cpu
