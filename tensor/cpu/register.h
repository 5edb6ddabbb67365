// One registration function per kernel family, called in this order by register.cpp. Each adds its variants to its
// slots, fastest first, `naive` last.
#pragma once

namespace asap::cpu {

void register_copy();           // copy.cpp: fill, copy
void register_random();         // random.cpp: random_uniform
void register_elementwise();    // elementwise.cpp: unary, unary_backward, binary, where
void register_reduce();         // reduce.cpp: reduce
void register_gather();         // gather.cpp: gather_forward, gather_backward
void register_matmul();           // matmul.cpp
void register_conv2d();         // conv2d*.cpp: conv2d_forward, conv2d_input_grad, conv2d_weight_grad
void register_norm();           // norm.cpp
void register_conv2d_instance_norm();  // conv2d_instance_norm.cpp
void register_pool();           // pool.cpp: average and max pooling
void register_grid_sample();    // grid_sample.cpp
void register_tile_mlp();       // tile_mlp*.cpp
void register_label_planes();      // label_planes.cpp
void register_optim();          // optim.cpp: adam
void register_naive();          // naive.cpp: the definitions, last

}  // namespace asap::cpu
