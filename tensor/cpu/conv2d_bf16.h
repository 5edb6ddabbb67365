// Variant bf16_blocks of the convolution, forward and input gradient. Next: conv2d_bf16.cpp.
#pragma once

#include "tensor/cpu/conv2d.h"

namespace asap::cpu {

// Of one group; x, y (dx, dy) bf16 and row-major, w bf16 and row-major or channels-last: then packing is copying.
bool takes_bf16_blocks(const Tensor& x, const Tensor& w, const Conv2dParams&, const Tensor& y);
// Not where Winograd's few products do; nor, without instructions for bf16, with few outputs (w's channels on the side of the
// result), of which a block of 32 would be nearly empty. Pass: forward or input_grad.
bool bf16_blocks_pay(const Tensor& x, const Tensor& w, const Conv2dParams&, const Tensor& y, Pass);
void conv2d_forward_bf16_blocks(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&, Tensor& y);
void conv2d_input_grad_bf16_blocks(const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);

}  // namespace asap::cpu
