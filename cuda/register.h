// One registration function per kernel family, called in this order by register.cu. Each adds its variants to its slots,
// fastest first, `naive` last. The files have the names of tensor/cpu's.
#pragma once

namespace asap::cuda {

void register_copy();           // copy.cu: fill, copy
void register_elementwise();    // elementwise.cu: unary, unary_backward, binary
void register_reduce();         // reduce.cu: reduce
void register_matmul();           // matmul.cu
void register_conv2d();         // conv2d*.cu: conv2d_forward, conv2d_input_grad, conv2d_weight_grad
void register_norm();           // norm.cu
void register_pool();           // pool.cu: average and max pooling
void register_tile_mlp();       // tile_mlp*.cu: tile_mlp_forward, tile_mlp_backward
void register_label_planes();   // label_planes.cu
void register_conv2d_channels_last();  // conv2d_channels_last*.cu, conv2d_pixels_wgmma.cu, conv2d_instance_norm*.cu: those two slots
void register_optim();          // optim.cu: adam
void register_collectives();    // nccl.cu: all_reduce, broadcast, all_gather
void register_naive();          // naive.cu: the definitions, last

}  // namespace asap::cuda
