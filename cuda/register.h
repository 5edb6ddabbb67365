// One registration function per kernel family, called in this order by register.cu. Each adds its variants to its slots,
// fastest first, `naive` last. The files have the names of tensor/cpu's.
#pragma once

namespace asap::cuda {

void register_copy();        // copy.cu: fill, copy
void register_conv_layer();  // conv_layer*.cu

}  // namespace asap::cuda
