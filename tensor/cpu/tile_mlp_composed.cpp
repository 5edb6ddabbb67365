// The per-tile MLP as a framework user writes it: tiles gathered into a batch, then whole-tensor steps (batched matrix
// products, bias, LeakyReLU, tanh), with every activation in memory. The yardstick for tile_mlp_fused.cpp.
// T = batch * tiles a picture, S = side of a tile.
#include <vector>

#include "tensor/cpu/tile_mlp.h"
#include "tensor/ops.h"

namespace asap::cpu {
namespace {

// [B,C,H,W] -> [T, S*S, C]
Tensor to_tiles(const Tensor& x, const TileMlpSizes& s) {
  const int64_t channels = x.size(1);
  return x.reshape({s.batch, channels, s.grid_h, s.tile, s.grid_w, s.tile})
      .permute({0, 2, 4, 3, 5, 1})
      .contiguous()
      .reshape({s.batch * s.cells(), s.pixels(), channels});
}

// [T, S*S, C] -> y [B,C,H,W]
void from_tiles(const Tensor& tiles, const TileMlpSizes& s, Tensor& y) {
  const int64_t channels = tiles.size(2);
  const Tensor picture = tiles.reshape({s.batch, s.grid_h, s.grid_w, s.tile, s.tile, channels}).permute({0, 5, 1, 3, 2, 4});
  Tensor view = y.reshape({s.batch, channels, s.grid_h, s.tile, s.grid_w, s.tile});
  kernels::copy.run(y.device(), picture, view);
}

// The positional encoding of one tile, [1, S*S, inputs - C].
template <class T>
Tensor positions_of_tile(const TileMlpSizes& s, Device device) {
  const PositionalEncoding<T> positions(s.tile);
  const int64_t features = s.inputs - s.channels;
  std::vector<T> values;
  for (int64_t pixel = 0; pixel < s.pixels(); ++pixel) {
    for (int64_t k = 0; k < features; ++k) values.push_back(positions.value(k, pixel % s.tile, pixel / s.tile));
  }
  return Tensor::from(values, {1, s.pixels(), features}, device);
}

// [T, S*S, inputs]
Tensor mlp_input(const Tensor& x, const TileMlpSizes& s) {
  const Tensor tiles = to_tiles(x, s);
  if (s.inputs == s.channels) return tiles;
  const Tensor positions = dispatch_floating(x.dtype(), "tile_mlp",
                                             [&](auto zero) { return positions_of_tile<decltype(zero)>(s, x.device()); });
  return cat({tiles, positions.expand({tiles.size(0), positions.size(1), positions.size(2)})}, 2);
}

// phi [B,P,gh,gw] -> one row of weights a tile, [T, P]
Tensor weight_rows(const Tensor& phi, const TileMlpSizes& s) {
  return phi.reshape({s.batch, s.parameters, s.cells()}).permute({0, 2, 1}).contiguous().reshape({s.batch * s.cells(), s.parameters});
}
Tensor layer_bias(const Tensor& rows, const TileMlpLayer& layer) {
  return rows.slice(1, layer.bias, layer.weight).unsqueeze(1);  // [T, 1, out]
}
Tensor layer_weight(const Tensor& rows, const TileMlpLayer& layer) {
  return rows.slice(1, layer.weight, layer.weight + layer.in * layer.out)
      .contiguous()
      .reshape({rows.size(0), layer.in, layer.out});
}

Tensor layer_forward(const Tensor& z, const Tensor& rows, const TileMlpLayer& layer, bool last, double slope) {
  const Tensor sum = add(matmul(z, layer_weight(rows, layer)), layer_bias(rows, layer));
  return last ? unary(UnaryOp::tanh, sum) : unary(UnaryOp::leaky_relu, sum, {.a = slope});
}

}  // namespace

void tile_mlp_forward_composed(const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  const TileMlpSizes sizes(x, params);
  const Tensor rows = weight_rows(phi, sizes);
  Tensor z = mlp_input(x, sizes);
  for (const TileMlpLayer& layer : sizes.layers) {
    z = layer_forward(z, rows, layer, &layer == &sizes.layers.back(), params.slope);
  }
  from_tiles(z, sizes, y);
}

void tile_mlp_backward_composed(const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params,
                                Tensor& dx, Tensor& dphi) {
  const TileMlpSizes sizes(x, params);
  const Tensor rows = weight_rows(phi, sizes);
  Tensor drows = Tensor::like(rows);
  std::vector<Tensor> z{mlp_input(x, sizes)};
  for (const TileMlpLayer& layer : sizes.layers) {
    z.push_back(layer_forward(z.back(), rows, layer, &layer == &sizes.layers.back(), params.slope));
  }
  Tensor dz = to_tiles(dy, sizes);
  for (size_t l = sizes.layers.size(); l-- > 0;) {
    const TileMlpLayer& layer = sizes.layers[l];
    const bool last = l + 1 == sizes.layers.size();
    dz = unary_backward(last ? UnaryOp::tanh : UnaryOp::leaky_relu, z[l + 1], dz, {.a = params.slope});
    z.pop_back();
    drows.slice(1, layer.bias, layer.weight).copy_from(sum(dz, {1}));
    drows.slice(1, layer.weight, layer.weight + layer.in * layer.out)
        .copy_from(matmul(z[l], dz, true).reshape({rows.size(0), layer.in * layer.out}));
    if (l > 0 || dx.defined()) dz = matmul(dz, layer_weight(rows, layer), false, true);
  }
  if (dx.defined()) from_tiles(dz.slice(2, 0, sizes.channels).contiguous(), sizes, dx);
  Tensor view = dphi.reshape({sizes.batch, sizes.parameters, sizes.cells()});
  kernels::copy.run(dphi.device(), drows.reshape({sizes.batch, sizes.cells(), sizes.parameters}).permute({0, 2, 1}), view);
}

}  // namespace asap::cpu
