// The per-tile MLP in bf16 with everything in cache: a strip of a tile's pixels runs through all layers (tile_mlp_bf16.h) before
// the next one is read, so labels, x and phi are read once, y is written once. Weights, inputs and hidden values are bf16, sums f32.
// The floor: where products take f32's time (AVX2), those; with AMX's tiles the stores between layers. Of a layer's 64 x 32 values
// tiles make a product in 256 cycles, and bias, activation, rounding and interleaving are some 1200 instructions of AVX-512.
// Declared in tile_mlp.h. Next: tile_mlp_bf16_backward.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/tile_mlp_bf16.cpp"
#include "tensor/cpu/targets.h"
#include "tensor/cpu/tile_mlp_bf16.h"
#include "tensor/picture_value.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

// A strip's results z [out][columns] to y: values [N,out,H,W], or a picture [N,H,W,out].
void write_results(const BlockedSizes& sizes, const float* z, int64_t n, int64_t cell, int64_t strip, Tensor& y) {
  const int64_t out = sizes.layers.back().out, plane = sizes.plane(), run = sizes.run, columns = sizes.columns;
  if (y.dtype() != DType::u8) {
    float* planes = y.data<float>() + n * out * plane;
    sizes.for_runs(cell, strip, [&](int64_t start, int64_t at) {
      for (int64_t o = 0; o < out; ++o) std::copy_n(z + o * columns + start, run, planes + o * plane + at);
    });
    return;
  }
  uint8_t* picture = y.data<uint8_t>() + n * plane * out;
  sizes.for_runs(cell, strip, [&](int64_t start, int64_t at) {
    for (int64_t o = 0; o < out; ++o) {
      uint8_t values[kSide];
      for (int64_t i = 0; i < run; ++i) values[i] = picture_value(z[o * columns + start + i]);
      for (int64_t i = 0; i < run; ++i) picture[(at + i) * out + o] = values[i];
    }
  });
}

void forward(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  const BlockedSizes sizes(labels, x, phi, params, 32);
  const StripInput input(sizes, labels, x);
  const auto slope = static_cast<float>(params.slope);

  parallel_for(sizes.groups(), 1, [&](int64_t begin, int64_t end) {
    const ScopedTiles tiles;
    PackedTiles packed(sizes);
    LastLayer last(sizes);
    const Zeroed<bf16> rows(sizes.blocked.front().in_blocks * kSide * sizes.columns);
    const Workspace<bf16> even(sizes.most_values()), odd(sizes.most_values());
    const Workspace<float> results(params.out * sizes.columns);
    for (int64_t g = begin; g < end; ++g) {
      const int64_t n = g / sizes.groups_a_picture, first = g % sizes.groups_a_picture * sizes.group;
      const int64_t count = std::min(sizes.group, sizes.cells() - first);
      packed.read(phi.data<bf16>() + n * sizes.parameters * sizes.cells() + first, count);
      for (int64_t t = 0; t < count; ++t) {
        last.prepare(packed.weights(t, sizes.blocked.back()), packed.biases(t, sizes.blocked.back()));
        for (int64_t strip = 0; strip < sizes.strips; ++strip) {
          bf16 *z = even.data(), *next = odd.data();
          input.read(n, first + t, strip, rows.data());
          interleave(rows.data(), sizes.blocked.front().in_blocks, sizes.columns, z);
          for (size_t l = 0; l + 1 < sizes.blocked.size(); ++l, std::swap(z, next)) {
            const BlockedLayer& layer = sizes.blocked[l];
            run_hidden<false>(layer, packed.weights(t, layer), packed.biases(t, layer), slope, sizes.columns, z, next,
                              nullptr);
          }
          last.run(z, results.data());
          write_results(sizes, results.data(), n, first + t, strip, y);
        }
      }
    }
  });
}

}  // namespace

void tile_mlp_forward_bf16(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params,
                           Tensor& y) {
  forward(labels, x, phi, params, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace asap::cpu {

HWY_EXPORT(tile_mlp_forward_bf16);

void tile_mlp_forward_bf16_blocks(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params,
                                  Tensor& y) {
  HWY_DYNAMIC_DISPATCH(tile_mlp_forward_bf16)(labels, x, phi, params, y);
}

}  // namespace asap::cpu
#endif
