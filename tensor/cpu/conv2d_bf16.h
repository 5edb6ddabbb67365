// Variant bf16_blocks of the convolution, forward and input gradient. Next: conv2d_bf16.cpp.
#pragma once

#include "tensor/kernels.h"

namespace asap::cpu {

// Of one group; x, y (dx, dy) bf16 and row-major, w bf16 and row-major or channels-last: then packing is copying. `outputs`: w's
// channels on the side of the result. Without instructions for bf16, not where f32 copies are faster: Winograd's few products
// are, and those of few outputs, of which a block of 32 would be nearly empty.
bool takes_bf16_blocks(const Tensor& x, const Tensor& w, const Conv2dParams&, const Tensor& y, int64_t outputs);
void conv2d_forward_bf16_blocks(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&, Tensor& y);
void conv2d_input_grad_bf16_blocks(const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);

}  // namespace asap::cpu
