// Gradients of the per-tile MLP with everything in cache: each panel of pixels (tile_mlp_panels.h) is run through the layers
// again, which keeps their outputs, then walked backwards; weight gradients add up in the tile's own buffer. A pixel's label
// adds its gradient to the row of its class.
// One thread does a tile from first pixel to last, so results do not depend on the number of threads.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/tile_mlp_fused_backward.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/tile_mlp_first_layer.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

template <class T>
class TileBackward {
 public:
  TileBackward(const TileMlpSizes& sizes, const TilePixels<T>& pixels, const TileMlpParams& params)
      : sizes_(sizes), pixels_(pixels), slope_(static_cast<T>(params.slope)), first_(sizes), classes_(kPanel),
        values_(value_channels(sizes) * kPanel), dz_(dz_channels(sizes) * kPanel), dz_next_(dz_channels(sizes) * kPanel),
        dz_transposed_(kPanel * padded(sizes.widest())), dweights_(padded_parameters(sizes)) {}

  // Tile `cell` of picture n; weights: its column of phi; dcolumn: that one's gradient. dx may be undefined.
  void run(const Tensor& labels, const Tensor& x, const T* weights, const Tensor& dy, int64_t n, int64_t cell, Tensor& dx,
           T* dcolumn) {
    std::fill_n(static_cast<T*>(dweights_), padded_parameters(sizes_), T{0});
    first_.prepare(weights);
    for (int64_t panel = 0; panel < pixels_.panels(); ++panel) {
      pixels_.read_labels(labels, n, cell, panel, classes_);
      pixels_.read(x, n, cell, panel, values_);
      forward(weights, panel);
      pixels_.read(dy, n, cell, panel, dz_);
      backward(weights, dx.defined());
      if (dx.defined()) pixels_.write(dz_, n, cell, panel, dx);
    }
    pack(dcolumn);
  }

 private:
  using V = panels::Vec<T>;
  static constexpr int64_t kPanel = panels::kPanel<T>, kLanes = panels::kLanes<T>;
  static int64_t padded(int64_t n) { return panels::round_up(n, kLanes); }

  // Values: x's channels and the sinusoids, then each layer's output, [channels][kPanel].
  static int64_t value_channels(const TileMlpSizes& sizes) {
    int64_t channels = sizes.channels + sizes.waves;
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
  // How many of a layer's inputs lie in the values: class numbers do not.
  int64_t kept_inputs(size_t l) const { return sizes_.layers[l].in - (l == 0 ? sizes_.classes : 0); }
  // Of the values, those of the last layer.
  T* outputs() { return values_ + (value_channels(sizes_) - sizes_.layers.back().out) * kPanel; }

  void forward(const T* weights, int64_t panel) {
    T* z = values_ + kept_inputs(0) * kPanel;
    pixels_.encode(panel, values_ + sizes_.channels * kPanel);
    first_.run(panel, classes_, values_, slope_, z);
    for (size_t l = 1; l < sizes_.layers.size(); ++l) {
      T* out = z + sizes_.layers[l].in * kPanel;
      run_layer<T>(sizes_.layers[l], z, weights, slope_, out);
      z = out;
    }
  }

  // From dy in dz_: adds the panel's weight gradients, leaves the gradient of x's channels in dz_ if wanted. Lanes beyond the
  // tile hold dy = 0 and so add nothing anywhere.
  void backward(const T* weights, bool want_dx) {
    const T* z = outputs();
    for (int64_t i = 0; i < sizes_.layers.back().out * kPanel; ++i) dz_[i] *= T{1} - z[i] * z[i];
    T* dweights = dweights_ + padded_parameters(sizes_);
    for (size_t l = sizes_.layers.size(); l-- > 0;) {
      const TileMlpLayer& layer = sizes_.layers[l];
      z -= kept_inputs(l) * kPanel;
      dweights -= (1 + layer.in) * padded(layer.out);
      weight_grad(layer, l == 0 ? sizes_.classes : 0, z, dweights);
      if (l > 0) {
        panels::linear_input_grad<T>(
            dz_, weights + layer.weight, layer.in, layer.out, z, dz_next_,
            [slope = slope_](V gradient, V value) { return value > T{0} ? gradient : slope * gradient; });
      } else if (want_dx) {
        panels::linear_input_grad<T>(dz_, weights + layer.weight + sizes_.classes * layer.out, sizes_.channels, layer.out, z,
                                     dz_next_, [](V gradient, V) { return gradient; });
      }
      std::swap(dz_, dz_next_);
    }
  }

  // Of a layer whose first `classes` inputs are one-hot planes, the others z.
  void weight_grad(const TileMlpLayer& layer, int64_t classes, const T* z, T* dweights) {
    const int64_t out = padded(layer.out);
    const T* dz = dz_;
    T* dzt = dz_transposed_;  // [kPanel][out]
    transpose(dz, kPanel, out, kPanel, dzt, out);
    panels::add_rows(dzt, kPanel, out, dweights);
    for (int64_t p = 0; classes > 0 && p < kPanel; ++p) {
      const int64_t label = classes_[p];
      if (label >= 0 && label < classes) panels::add_row(dzt + p * out, out, dweights + (1 + label) * out);
    }
    panels::weight_grad(z, dzt, layer.in - classes, out, dweights + (1 + classes) * out);
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
  const T slope_;
  FirstLayer<T> first_;
  Scratch<panels::Int<T>> classes_;
  Scratch<T> values_, dz_, dz_next_, dz_transposed_, dweights_;
};

template <class T>
void backward(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params,
              Tensor& dx, Tensor& dphi) {
  const TileMlpSizes sizes(labels, x, phi, params);
  const TilePixels<T> pixels(sizes);
  const TileGroups groups(sizes, panels::kLanes<T>);
  const int64_t column_stride = panels::round_up(sizes.parameters, panels::kLanes<T>);

  parallel_for(groups.count(), 1, [&](int64_t begin, int64_t end) {
    Scratch<T> columns(groups.size() * column_stride), dcolumns(groups.size() * column_stride);
    TileBackward<T> tile(sizes, pixels, params);
    for (int64_t g = begin; g < end; ++g) {
      const TileGroup group = groups[g];
      transpose<T>(phi.data<T>() + group.in_phi, sizes.cells(), sizes.parameters, group.count, columns, column_stride);
      for (int64_t t = 0; t < group.count; ++t) {
        tile.run(labels, x, columns + t * column_stride, dy, group.picture, group.first + t, dx, dcolumns + t * column_stride);
      }
      transpose<T>(dcolumns, column_stride, group.count, sizes.parameters, dphi.data<T>() + group.in_phi, sizes.cells());
    }
  });
}

}  // namespace

void tile_mlp_backward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                             const TileMlpParams& params, Tensor& dx, Tensor& dphi) {
  dispatch_floating(phi.dtype(), "tile_mlp_backward",
                    [&](auto zero) { backward<decltype(zero)>(labels, x, phi, dy, params, dx, dphi); });
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(tile_mlp_backward_fused);

void tile_mlp_backward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                             const TileMlpParams& params, Tensor& dx, Tensor& dphi) {
  HWY_DYNAMIC_DISPATCH(tile_mlp_backward_fused)(labels, x, phi, dy, params, dx, dphi);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
