// What the kernels of inference share on the CPU. Variants: inference_naive.cpp (the definitions), inference.cpp (label
// planes), inference_mlp.cpp (the per-tile MLP from class numbers). Contract: ../kernels.h.
#pragma once

#include <algorithm>

#include "tensor/padded_index.h"

namespace asap::cpu {

// Weight of tap i < 2*factor of the tent filter [1,3,..,3,1] / (2 factor^2) (SPEC section 2): exact in every type.
inline double tent_weight(int64_t i, int64_t factor) {
  const int64_t rank = std::min(i, 2 * factor - 1 - i);
  return static_cast<double>(2 * rank + 1) / static_cast<double>(2 * factor * factor);
}

// v in [-1,1] to 8 bits: the fraction is cut off, a NaN becomes 0.
template <class T>
inline uint8_t picture_value(T v) {
  const T scaled = (v + 1) / 2 * 255;
  return static_cast<uint8_t>(scaled >= 0 ? std::min(scaled, T{255}) : T{0});
}

void label_planes_naive(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& params, Tensor& y);
void tile_mlp_labels_naive(const Tensor& labels, const Tensor& instance, const Tensor& phi,
                           const TileMlpLabelsParams& params, Tensor& y);
void tile_mlp_labels_fused(const Tensor& labels, const Tensor& instance, const Tensor& phi,
                           const TileMlpLabelsParams& params, Tensor& y);

}  // namespace asap::cpu
