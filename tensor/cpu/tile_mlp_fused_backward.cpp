// Gradients of the per-tile MLP with everything in cache: each panel of pixels (tile_mlp_panels.h) is run through the layers
// again, which keeps their outputs, then walked backwards; weight gradients add up in the tile's own buffer.
// One thread does a tile from first pixel to last, so results do not depend on the number of threads.
#include "tensor/cpu/tile_mlp_fused.h"

namespace asap::cpu {
namespace {

template <class T>
class TileBackward {
 public:
  TileBackward(const TileMlpSizes& sizes, const TilePixels<T>& pixels, const TileMlpParams& params)
      : sizes_(sizes), pixels_(pixels), leaky_relu_{static_cast<T>(params.slope)},
        values_(value_channels(sizes) * kPanel), dz_(dz_channels(sizes) * kPanel), dz_next_(dz_channels(sizes) * kPanel),
        dz_transposed_(kPanel * padded(sizes.widest())), dweights_(padded_parameters(sizes)) {}

  // x, dy, dx: the picture's planes (dx may be null); weights: the tile's column of phi; dcolumn: its gradient.
  void run(const T* x, const T* weights, const T* dy, int64_t cell, T* dx, T* dcolumn) {
    std::fill_n(static_cast<T*>(dweights_), padded_parameters(sizes_), T{0});
    for (int64_t panel = 0; panel < pixels_.panels(); ++panel) {
      forward(x, weights, cell, panel);
      output_grad(dy, cell, panel);
      backward(weights, dx != nullptr);
      if (dx) pixels_.write(dz_, sizes_.channels, cell, panel, dx);
    }
    pack(dcolumn);
  }

 private:
  using V = panels::Vec<T>;
  static constexpr int64_t kPanel = panels::kPanel<T>, kLanes = panels::kLanes<T>;
  static int64_t padded(int64_t n) { return panels::round_up(n, kLanes); }

  // Values: the input, then each layer's output, [channels][kPanel].
  static int64_t value_channels(const TileMlpSizes& sizes) {
    int64_t channels = sizes.inputs;
    for (const TileMlpLayer& layer : sizes.layers) channels += layer.out;
    return channels;
  }
  static int64_t dz_channels(const TileMlpSizes& sizes) { return padded(std::max(sizes.widest(), sizes.channels)); }
  // Weight gradients: layer by layer [1 + in][padded out], the bias in the first row.
  static int64_t padded_parameters(const TileMlpSizes& sizes) {
    int64_t total = 0;
    for (const TileMlpLayer& layer : sizes.layers) total += (1 + layer.in) * padded(layer.out);
    return total;
  }
  // Of the values, those of the last layer.
  T* outputs() { return values_ + (value_channels(sizes_) - sizes_.layers.back().out) * kPanel; }

  void forward(const T* x, const T* weights, int64_t cell, int64_t panel) {
    T* z = values_;
    pixels_.read(x, sizes_.channels, cell, panel, z);
    pixels_.encode(panel, z + sizes_.channels * kPanel);
    for (const TileMlpLayer& layer : sizes_.layers) {
      T* out = z + layer.in * kPanel;
      const T *bias = weights + layer.bias, *weight = weights + layer.weight;
      if (&layer != &sizes_.layers.back()) {
        panels::linear(z, bias, weight, layer.in, layer.out, out, leaky_relu_);
      } else {
        panels::linear(z, bias, weight, layer.in, layer.out, out, [](V v) { return v; });
        panels::tanh_in_place(out, layer.out * kPanel);
      }
      z = out;
    }
  }

  // dz of the last layer, before tanh. Lanes beyond the tile hold dy = 0 and so add nothing anywhere.
  void output_grad(const T* dy, int64_t cell, int64_t panel) {
    const int64_t out = sizes_.layers.back().out;
    T* dz = dz_;
    const T* y = outputs();
    pixels_.read(dy, out, cell, panel, dz);
    for (int64_t i = 0; i < out * kPanel; ++i) dz[i] *= T{1} - y[i] * y[i];
  }

  // From dz of the last layer: adds the panel's weight gradients, leaves the gradient of x's channels in dz_ if wanted.
  void backward(const T* weights, bool want_dx) {
    const T* z = outputs();
    T* dweights = dweights_ + padded_parameters(sizes_);
    for (size_t l = sizes_.layers.size(); l-- > 0;) {
      const TileMlpLayer& layer = sizes_.layers[l];
      z -= layer.in * kPanel;
      dweights -= (1 + layer.in) * padded(layer.out);
      weight_grad(layer, z, dweights);
      if (l > 0) {
        const T slope = leaky_relu_.slope;
        panels::linear_input_grad<T>(dz_, weights + layer.weight, layer.in, layer.out, z, dz_next_,
                                     [slope](V gradient, V value) { return value > T{0} ? gradient : slope * gradient; });
      } else if (want_dx) {
        panels::linear_input_grad<T>(dz_, weights + layer.weight, sizes_.channels, layer.out, z, dz_next_,
                                     [](V gradient, V) { return gradient; });
      }
      std::swap(dz_, dz_next_);
    }
  }

  void weight_grad(const TileMlpLayer& layer, const T* z, T* dweights) {
    const int64_t out = padded(layer.out);
    const T* dz = dz_;
    T* dzt = dz_transposed_;  // [kPanel][out]
    for (int64_t o = 0; o < out; o += kLanes) {
      for (int64_t p = 0; p < kPanel; p += kLanes) panels::transpose_square(dz + o * kPanel + p, kPanel, dzt + p * out + o, out);
    }
    panels::add_rows(dzt, kPanel, out, dweights);
    panels::weight_grad(z, dzt, layer.in, out, dweights + out);
  }

  // Drops the padding of the weight gradients: phi's order.
  void pack(T* dcolumn) {
    const T* row = dweights_;
    for (const TileMlpLayer& layer : sizes_.layers) {
      for (int64_t i = 0; i < 1 + layer.in; ++i, row += padded(layer.out), dcolumn += layer.out) {
        std::copy_n(row, layer.out, dcolumn);
      }
    }
  }

  const TileMlpSizes& sizes_;
  const TilePixels<T>& pixels_;
  LeakyRelu<T> leaky_relu_;
  Scratch<T> values_, dz_, dz_next_, dz_transposed_, dweights_;
};

template <class T>
void backward(const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params, Tensor& dx, Tensor& dphi) {
  const TileMlpSizes sizes(x, params);
  const TilePixels<T> pixels(sizes, PositionalEncoding<T>(sizes.tile));
  const TileGroups groups(sizes, panels::kLanes<T>);
  const int64_t column_stride = panels::round_up(sizes.parameters, panels::kLanes<T>);
  const int64_t plane = sizes.height * sizes.width;
  const T *x_first = x.data<T>(), *phi_first = phi.data<T>(), *dy_first = dy.data<T>();
  T *dx_first = dx.defined() ? dx.data<T>() : nullptr, *dphi_first = dphi.data<T>();

  parallel_for(groups.count(), 1, [&](int64_t begin, int64_t end) {
    Scratch<T> columns(groups.size() * column_stride), dcolumns(groups.size() * column_stride);
    TileBackward<T> tile(sizes, pixels, params);
    for (int64_t g = begin; g < end; ++g) {
      const TileGroup group = groups[g];
      const int64_t x_offset = group.picture * sizes.channels * plane;
      gather_columns<T>(phi_first, sizes, group, columns, column_stride);
      for (int64_t t = 0; t < group.count; ++t) {
        tile.run(x_first + x_offset, columns + t * column_stride, dy_first + group.picture * params.out * plane, group.first + t,
                 dx_first ? dx_first + x_offset : nullptr, dcolumns + t * column_stride);
      }
      scatter_columns<T>(dcolumns, column_stride, sizes, group, dphi_first);
    }
  });
}

}  // namespace

void tile_mlp_backward_fused(const Tensor&, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params, Tensor& dx,
                             Tensor& dphi) {
  dispatch_floating(x.dtype(), "tile_mlp_backward",
                    [&](auto zero) { backward<decltype(zero)>(x, phi, dy, params, dx, dphi); });
}

}  // namespace asap::cpu
