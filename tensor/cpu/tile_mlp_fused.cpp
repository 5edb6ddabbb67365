// The per-tile MLP with everything in cache: a panel of pixels (tile_mlp_panels.h) runs through all layers before the next
// one is read, so x and phi are read once, y is written once, and nothing else goes to memory.
// The backward is tile_mlp_fused_backward.cpp; what both share is tile_mlp_fused.h.
#include "tensor/cpu/tile_mlp_fused.h"

namespace asap::cpu {
namespace {

template <class T>
void forward(const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  const TileMlpSizes sizes(x, params);
  const TilePixels<T> pixels(sizes, PositionalEncoding<T>(sizes.tile));
  const T slope = static_cast<T>(params.slope);
  const TileGroups groups(sizes, panels::kLanes<T>);
  const int64_t column_stride = panels::round_up(sizes.parameters, panels::kLanes<T>);
  const int64_t plane = sizes.height * sizes.width;
  const T *x_first = x.data<T>(), *phi_first = phi.data<T>();
  T* y_first = y.data<T>();

  parallel_for(groups.count(), 1, [&](int64_t begin, int64_t end) {
    Scratch<T> columns(groups.size() * column_stride);
    Scratch<T> input(sizes.inputs * pixels.kPanel), even(sizes.widest() * pixels.kPanel), odd(sizes.widest() * pixels.kPanel);
    for (int64_t g = begin; g < end; ++g) {
      const TileGroup group = groups[g];
      gather_columns<T>(phi_first, sizes, group, columns, column_stride);
      for (int64_t t = 0; t < group.count; ++t) {
        const T* weights = columns + t * column_stride;
        const int64_t cell = group.first + t;
        for (int64_t panel = 0; panel < pixels.panels(); ++panel) {
          pixels.read(x_first + group.picture * sizes.channels * plane, sizes.channels, cell, panel, input);
          pixels.encode(panel, input + sizes.channels * pixels.kPanel);
          const T* z = run_layers<T>(sizes, weights, slope, 0, input, even, odd);
          pixels.write(z, params.out, cell, panel, y_first + group.picture * params.out * plane);
        }
      }
    }
  });
}

}  // namespace

void tile_mlp_forward_fused(const Tensor&, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  dispatch_floating(x.dtype(), "tile_mlp", [&](auto zero) { forward<decltype(zero)>(x, phi, params, y); });
}

}  // namespace asap::cpu
