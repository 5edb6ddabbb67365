// One registration function per kernel family, called in this order by register.cu. Each adds its variants to its slots,
// fastest first, `naive` last. The files have the names of tensor/cpu's.
#pragma once

namespace asap::cuda {

void register_copy();    // copy.cu: fill, copy
void register_gemm();    // gemm.cu
void register_conv2d();  // conv2d.cu, conv2d_*.cu: forward, input gradient, weight gradient

}  // namespace asap::cuda
