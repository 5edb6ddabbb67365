// Gradients of the per-tile MLP in bf16 with everything in cache: a strip of a tile's pixels is run through the layers again
// (tile_mlp_bf16.h), which keeps their inputs, then walked backwards. With a layer's inputs H, sums' gradient dZ and weights W:
//   dH = W dZ    A = W, B = dZ as rows of pairs of channels
//   dW = H dZ^T  A = H as blocks of rows of pixels, B = dZ as rows of pairs of pixels, summed in f32 over the tile's strips
// so a store makes both forms of what it stores. One-hot inputs are rows of H like all others. dZ is rounded to bf16, sums are f32.
// One thread does a tile from first pixel to last, so results do not depend on the number of threads.
// Declared in tile_mlp.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/tile_mlp_bf16_backward.cpp"
#include "tensor/cpu/targets.h"
#include "tensor/cpu/tile_mlp_bf16.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

inline constexpr int64_t kParts = 16;  // sums side by side of a bias's gradient

// Gradients of a block's sums, [32 channels][32 pixels], each times 1, or slope where the layer's output was not positive
// (`z`, rows of pairs; nullptr: all times 1): as rows of pairs of channels, as a block of rows, and added to the gradients of
// the biases, [32][kParts].
HWY_INLINE void store_gradient(const float* sums, const bf16* z, float slope, int64_t columns, bf16* pairs, bf16* rows,
                               float* dbias) {
  alignas(64) float values[2 * kSide];
  for (int64_t r = 0; r < kSide; r += 2) {
    const float *even = sums + r * kSide, *odd = even + kSide;
    Pair* to = reinterpret_cast<Pair*>(pairs) + r / 2 * columns;
    Half* row = reinterpret_cast<Half*>(rows + r * kSide);
    const Pair* from = z ? reinterpret_cast<const Pair*>(z) + r / 2 * columns : nullptr;
    float *u = values, *v = values + kSide;
    if (from) {
      for (int64_t j = 0; j < kSide; ++j) {
        const float low = std::bit_cast<float>(from[j] << 16), high = std::bit_cast<float>(from[j] & 0xFFFF0000u);
        u[j] = low > 0 ? even[j] : slope * even[j];
        v[j] = high > 0 ? odd[j] : slope * odd[j];
      }
    } else {
      std::copy_n(even, kSide, u);
      std::copy_n(odd, kSide, v);
    }
    for (int64_t j = 0; j < kSide; ++j) {
      const uint32_t low = rounded(u[j]) >> 16, high = rounded(v[j]) & 0xFFFF0000u;
      to[j] = low | high;
      row[j] = static_cast<uint16_t>(low);
      row[kSide + j] = static_cast<uint16_t>(high >> 16);
    }
    float* parts = dbias + r * kParts;
    ASAP_INDEPENDENT
    for (int64_t j = 0; j < kParts; ++j) parts[j] += u[j] + u[kParts + j];
    ASAP_INDEPENDENT
    for (int64_t j = 0; j < kParts; ++j) parts[kParts + j] += v[j] + v[kParts + j];
  }
}

class TileBackward {
 public:
  TileBackward(const BlockedSizes& sizes, const TileMlpParams& params, const StripInput& input, bool want_dx)
      : sizes_(sizes),
        slope_(static_cast<float>(params.slope)),
        input_(input),
        want_dx_(want_dx),
        last_(sizes),
        transposed_(sizes.packed),
        dweights_(sizes.packed),
        dbiases_(sizes.biases * kParts),
        results_(params.out * sizes.columns),
        gradients_(sizes.most_values()),
        gradients_above_(sizes.most_values()),
        pixel_pairs_(sizes.most_values()) {
    for (const BlockedLayer& layer : sizes.blocked) {
      rows_.emplace_back(layer.in_blocks * kSide * sizes.columns);
      pairs_.emplace_back(layer.in_blocks * kSide * sizes.columns);
    }
  }

  // Tile number t of the packed ones, `cell` of picture n; dcolumn: the gradient of its column of phi.
  void run(const PackedTiles& packed, int64_t t, int64_t n, int64_t cell, const Tensor& dy, Tensor& dx, bf16* dcolumn) {
    last_.prepare(packed.weights(t, sizes_.blocked.back()), packed.biases(t, sizes_.blocked.back()));
    transpose_weights(packed, t);
    std::fill_n(dbiases_.data(), sizes_.biases * kParts, 0.0f);
    for (int64_t strip = 0; strip < sizes_.strips; ++strip) {
      forward(packed, t, n, cell, strip);
      last_gradient(dy, n, cell, strip);
      for (size_t l = sizes_.blocked.size(); l-- > 0;) {
        const BlockedLayer& layer = sizes_.blocked[l];
        weight_grad(layer, rows_[l].data(), strip > 0);
        if (l > 0) input_grad(layer, sizes_.blocked[l - 1], pairs_[l].data());
      }
      if (want_dx_)
        dx.dtype() == DType::bf16 ? write_dx<bf16>(n, cell, strip, dx) : write_dx<float>(n, cell, strip, dx);
    }
    store(dcolumn);
  }

 private:
  // Of W^T's blocks, [outputs][inputs], those of W.
  void transpose_weights(const PackedTiles& packed, int64_t t) {
    for (size_t l = want_dx_ ? 0 : 1; l < sizes_.blocked.size(); ++l) {
      const BlockedLayer& layer = sizes_.blocked[l];
      const bf16* from = packed.weights(t, layer);
      bf16* to = transposed_.data() + layer.in_packed;
      for (int64_t o = 0; o < layer.out_blocks; ++o) {
        for (int64_t i = 0; i < layer.in_blocks; ++i) {
          transpose(from + (o * layer.in_blocks + i) * kBlock, kSide, kSide, kSide,
                    to + (i * layer.out_blocks + o) * kBlock, kSide);
        }
      }
    }
  }

  void forward(const PackedTiles& packed, int64_t t, int64_t n, int64_t cell, int64_t strip) {
    input_.read(n, cell, strip, rows_[0].data());
    interleave(rows_[0].data(), sizes_.blocked[0].in_blocks, sizes_.columns, pairs_[0].data());
    for (size_t l = 0; l + 1 < sizes_.blocked.size(); ++l) {
      const BlockedLayer& layer = sizes_.blocked[l];
      run_hidden<true>(layer, packed.weights(t, layer), packed.biases(t, layer), slope_, sizes_.columns,
                       pairs_[l].data(), pairs_[l + 1].data(), rows_[l + 1].data());
    }
    last_.run(pairs_.back().data(), results_.data());
  }

  // From dy and the results: unused pixels have dy = 0 and so add nothing anywhere.
  void last_gradient(const Tensor& dy, int64_t n, int64_t cell, int64_t strip) {
    const BlockedLayer& layer = sizes_.blocked.back();
    const int64_t columns = sizes_.columns, plane = sizes_.plane();
    const float* planes = dy.data<float>() + n * layer.out * plane;
    float* z = results_.data();
    sizes_.for_runs(cell, strip, [&](int64_t start, int64_t at) {
      for (int64_t o = 0; o < layer.out; ++o) {
        float* to = z + o * columns + start;
        for (int64_t i = 0; i < sizes_.run; ++i) to[i] = planes[o * plane + at + i] * (1 - to[i] * to[i]);
      }
    });
    const int64_t used = std::min(columns, sizes_.pixels());
    for (int64_t o = 0; used < columns && o < layer.out; ++o)
      std::fill(z + o * columns + used, z + (o + 1) * columns, 0.0f);
    alignas(64) float sums[kBlock];
    for (int64_t block = 0; block < layer.out_blocks; ++block) {
      const int64_t outputs = std::min(kSide, layer.out - block * kSide);
      for (int64_t at = 0; at < columns; at += kSide) {
        std::fill_n(sums, kBlock, 0.0f);
        for (int64_t r = 0; r < outputs; ++r)
          std::copy_n(z + (block * kSide + r) * columns + at, kSide, sums + r * kSide);
        keep(layer, block, at, [&](bf16* pairs, bf16* rows, float* dbias) {
          store_gradient(sums, nullptr, slope_, columns, pairs, rows, dbias);
        });
      }
    }
  }

  // A block of gradients of a layer's sums, in both forms: store(pairs, rows, dbias) is store_gradient.
  template <class Store>
  void keep(const BlockedLayer& layer, int64_t block, int64_t at, const Store& store) {
    const int64_t columns = sizes_.columns, channels = layer.out_blocks * kSide;
    alignas(64) uint32_t rows[kBlock / 2];
    store(gradients_.data() + (block * kSide / 2 * columns + at) * 2, reinterpret_cast<bf16*>(rows),
          dbiases_.data() + (layer.in_biases + block * kSide) * kParts);
    transpose(rows, kSide / 2, kSide, kSide / 2,
              reinterpret_cast<uint32_t*>(pixel_pairs_.data()) + at / 2 * channels + block * kSide, channels);
  }

  // The tile's gradient of W, [inputs][outputs], of a layer with these inputs.
  void weight_grad(const BlockedLayer& layer, const bf16* rows, bool accumulate) {
    const int64_t out = layer.out_blocks * kSide, columns = sizes_.columns;
    float* dw = dweights_.data() + layer.in_packed;
    for (int64_t i = 0; i < layer.in_blocks; ++i) {
      for (int64_t o = 0; o < out; o += kSide) {
        bf16_product(product(rows + i * kSide * columns, columns / kSide, pixel_pairs_.data() + 2 * o, out,
                             dw + i * kSide * out + o, out, accumulate));
      }
    }
  }

  // From the gradient of a layer's sums that of the sums below; z: the layer's inputs, which are `below`'s outputs.
  void input_grad(const BlockedLayer& layer, const BlockedLayer& below, const bf16* z) {
    alignas(64) float sums[kBlock];
    const int64_t columns = sizes_.columns;
    std::swap(gradients_, gradients_above_);
    for (int64_t i = 0; i < layer.in_blocks; ++i) {
      for (int64_t at = 0; at < columns; at += kSide) {
        const Bf16Product product = input_product(layer, i, at, gradients_above_, sums);
        const bf16* inputs = z + (i * kSide / 2 * columns + at) * 2;
        keep(below, i, at, [&](bf16* pairs, bf16* rows, float* dbias) {
          if constexpr (HWY_TARGET == HWY_AVX3) {
            if (sums_stay_in_registers())
              return gradient_block_avx512(product, inputs, slope_, columns, pairs, rows, dbias);
          }
          bf16_product(product);
          store_gradient(sums, inputs, slope_, columns, pairs, rows, dbias);
        });
      }
    }
  }
  Bf16Product input_product(const BlockedLayer& layer, int64_t block, int64_t at, const Workspace<bf16>& dz, float* sums) const {
    return product(transposed_.data() + layer.in_packed + block * layer.out_blocks * kBlock, layer.out_blocks,
                   dz.data() + 2 * at, sizes_.columns, sums);
  }

  template <class T>
  void write_dx(int64_t n, int64_t cell, int64_t strip, Tensor& dx) const {
    alignas(64) float sums[kBlock];
    T* planes = dx.data<T>() + n * sizes_.channels * sizes_.plane();
    const int64_t first = sizes_.classes, end = first + sizes_.channels;  // of the inputs that are x's
    for (int64_t block = first / kSide; block < ceil_div(end, kSide); ++block) {
      for (int64_t at = 0; at < sizes_.columns; at += kSide) {
        bf16_product(input_product(sizes_.blocked[0], block, at, gradients_, sums));
        sizes_.for_runs(cell, strip, [&](int64_t start, int64_t pixel) {
          if (start / kSide != at / kSide) return;
          for (int64_t i = std::max(first, block * kSide); i < std::min(end, (block + 1) * kSide); ++i) {
            const float* from = sums + i % kSide * kSide + start % kSide;
            T* to = planes + (i - first) * sizes_.plane() + pixel;
            for (int64_t j = 0; j < sizes_.run; ++j) to[j] = static_cast<T>(from[j]);
          }
        });
      }
    }
  }

  // The tile's gradients in phi's order.
  void store(bf16* dcolumn) const {
    for (const BlockedLayer& layer : sizes_.blocked) {
      for (int64_t o = 0; o < layer.out; ++o) {
        const float* parts = dbiases_.data() + (layer.in_biases + o) * kParts;
        float sum = 0;
        for (int64_t i = 0; i < kParts; ++i) sum += parts[i];
        dcolumn[layer.bias + o] = bf16(sum);
      }
      const float* dw = dweights_.data() + layer.in_packed;
      if (layer.taken < layer.in) std::fill_n(dcolumn + layer.weight, layer.in * layer.out, bf16());
      for (int64_t i = 0; i < layer.taken; ++i, dw += layer.out_blocks * kSide) {
        bf16* to = dcolumn + layer.weight + layer.input(i) * layer.out;
        for (int64_t o = 0; o < layer.out; ++o) to[o] = bf16(dw[o]);
      }
    }
  }

  const BlockedSizes& sizes_;
  const float slope_;
  const StripInput& input_;
  const bool want_dx_;
  LastLayer last_;
  std::vector<Zeroed<bf16>> rows_;       // each layer's inputs, [in_blocks][columns/32][32][32]
  std::vector<Workspace<bf16>> pairs_;   // the same, [in/2][columns][2]
  Workspace<bf16> transposed_;           // W, [in_blocks][out_blocks][32 inputs][32 outputs]
  Workspace<float> dweights_, dbiases_;  // [inputs][outputs] of each layer; [outputs][kParts]
  Workspace<float> results_;             // [out][columns]
  Workspace<bf16> gradients_, gradients_above_,
      pixel_pairs_;  // dZ, [out/2][columns][2], that of the layer above, [columns/2][out][2]
};

void backward(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params,
              Tensor& dx, Tensor& dphi) {
  const BlockedSizes sizes(labels, x, phi, params, 16);
  const StripInput input(sizes, labels, x);
  parallel_for(sizes.groups(), 1, [&](int64_t begin, int64_t end) {
    const ScopedTiles tiles;
    PackedTiles packed(sizes);
    TileBackward tile(sizes, params, input, dx.defined());
    const Workspace<bf16> dcolumns(sizes.group * sizes.parameters);
    for (int64_t g = begin; g < end; ++g) {
      const int64_t n = g / sizes.groups_a_picture, first = g % sizes.groups_a_picture * sizes.group;
      const int64_t count = std::min(sizes.group, sizes.cells() - first),
                    in_phi = n * sizes.parameters * sizes.cells() + first;
      packed.read(phi.data<bf16>() + in_phi, count);
      for (int64_t t = 0; t < count; ++t)
        tile.run(packed, t, n, first + t, dy, dx, dcolumns.data() + t * sizes.parameters);
      // Walked along the columns, eight numbers at a time, so that a line of dphi is written at once.
      for (int64_t p = 0; p < sizes.parameters; p += 8) {
        transpose(dcolumns.data() + p, sizes.parameters, count, std::min<int64_t>(8, sizes.parameters - p),
                  dphi.data<bf16>() + in_phi + p * sizes.cells(), sizes.cells());
      }
    }
  });
}

}  // namespace

void tile_mlp_backward_bf16(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                            const TileMlpParams& params, Tensor& dx, Tensor& dphi) {
  backward(labels, x, phi, dy, params, dx, dphi);
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace asap::cpu {

HWY_EXPORT(tile_mlp_backward_bf16);

void tile_mlp_backward_bf16_blocks(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                                   const TileMlpParams& params, Tensor& dx, Tensor& dphi) {
  HWY_DYNAMIC_DISPATCH(tile_mlp_backward_bf16)(labels, x, phi, dy, params, dx, dphi);
}

}  // namespace asap::cpu
#endif
