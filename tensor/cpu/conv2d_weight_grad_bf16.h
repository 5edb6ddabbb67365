// Variant bf16_blocks of the convolution's weight gradient. Next: conv2d_weight_grad_bf16.cpp.
#pragma once

#include "tensor/kernels.h"

namespace asap::cpu {

// Of one group; x and dy bf16 and row-major; dw f32 or bf16.
bool takes_weight_grad_bf16_blocks(const Tensor& x, const Tensor& dy, const Conv2dParams&, const Tensor& dw);
void conv2d_weight_grad_bf16_blocks(const Tensor& x, const Tensor& dy, const Conv2dParams&, Tensor& dw);

}  // namespace asap::cpu
