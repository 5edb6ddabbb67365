// The per-tile MLP with everything in cache: a panel of pixels (tile_mlp_panels.h) runs through all layers before the next
// one is read, so labels, x and phi are read once, y is written once, and nothing else goes to memory.
// The backward is tile_mlp_fused_backward.cpp; what both share: tile_mlp_fused.h, tile_mlp_first_layer.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/tile_mlp_fused.cpp"
#include "tensor/cpu/targets.h"

#include "tensor/cpu/tile_mlp_first_layer.h"
#include "tensor/picture_value.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

// A panel's results to y: values [N,out,H,W], or a picture [N,H,W,out]. z [out][kPanel]; `bytes` is scratch of that size.
template <class T>
void write_results(const T* z, const TilePixels<T>& pixels, int64_t n, int64_t cell, int64_t panel, uint8_t* bytes, Tensor& y) {
  constexpr int64_t kPanel = panels::kPanel<T>;
  if (y.dtype() != DType::u8) return pixels.write(z, n, cell, panel, y);
  const int64_t out = y.size(3);
  for (int64_t i = 0; i < out * kPanel; ++i) bytes[i] = picture_value(z[i]);
  uint8_t* picture = y.data<uint8_t>() + n * y.size(1) * y.size(2) * out;
  pixels.for_runs(cell, panel, [&](int64_t start, int64_t at, int64_t count) {
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < count; ++i) picture[(at + i) * out + o] = bytes[o * kPanel + start + i];
    }
  });
}

template <class T>
void forward(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  constexpr int64_t kPanel = panels::kPanel<T>;
  const TileMlpSizes sizes(labels, x, phi, params);
  const TilePixels<T> pixels(sizes);
  const T slope = static_cast<T>(params.slope);
  const TileGroups groups(sizes, panels::kLanes<T>);
  const int64_t column_stride = panels::round_up(sizes.parameters, panels::kLanes<T>);

  parallel_for(groups.count(), 1, [&](int64_t begin, int64_t end) {
    FirstLayer<T> first(sizes);
    Scratch<T> columns(groups.size() * column_stride), values(sizes.channels * kPanel);
    Scratch<T> even(sizes.widest() * kPanel), odd(sizes.widest() * kPanel);
    Scratch<panels::Int<T>> classes(kPanel);
    Scratch<uint8_t> bytes(params.out * kPanel);
    for (int64_t g = begin; g < end; ++g) {
      const TileGroup group = groups[g];
      transpose<T>(phi.data<T>() + group.in_phi, sizes.cells(), sizes.parameters, group.count, columns, column_stride);
      for (int64_t t = 0; t < group.count; ++t) {
        const T* weights = columns + t * column_stride;
        const int64_t n = group.picture, cell = group.first + t;
        first.prepare(weights);
        for (int64_t panel = 0; panel < pixels.panels(); ++panel) {
          pixels.read_labels(labels, n, cell, panel, classes);
          pixels.read(x, n, cell, panel, values);
          T *z = even, *next = odd;
          first.run(panel, classes, values, slope, z);
          for (size_t l = 1; l < sizes.layers.size(); ++l, std::swap(z, next)) {
            run_layer<T>(sizes.layers[l], z, weights, slope, next);
          }
          write_results<T>(z, pixels, n, cell, panel, bytes, y);
        }
      }
    }
  });
}

}  // namespace

void tile_mlp_forward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  dispatch_floating(phi.dtype(), "tile_mlp", [&](auto zero) { forward<decltype(zero)>(labels, x, phi, params, y); });
}

}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(tile_mlp_forward_fused);

void tile_mlp_forward_fused(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(tile_mlp_forward_fused)(labels, x, phi, params, y);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
