// What the kernels of inference share on the CPU. Variants: inference_naive.cpp (the definition of conv_layer), inference.cpp.
// Contract: ../kernels.h.
#pragma once

#include "tensor/kernels.h"

namespace asap::cpu {

void conv_layer_naive(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                      const ConvLayerParams& params, Tensor& y);

}  // namespace asap::cpu
