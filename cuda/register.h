// One registration function per kernel family, called in this order by register.cu. Each adds its variants to its slots,
// fastest first, `naive` last. The files have the names of tensor/cpu's.
#pragma once

namespace asap::cuda {

void register_copy();         // copy.cu: fill, copy
void register_random();       // random.cu: random_uniform, random_normal
void register_elementwise();  // elementwise.cu: unary, unary_backward, binary, add_bias
void register_reduce();       // reduce.cu
void register_softmax();      // softmax.cu: softmax and log_softmax, forward and backward
void register_gather();       // gather.cu: gather, one_hot
void register_gemm();         // gemm.cu
void register_gemm_cublas();  // gemm_cublas.cu, called by register_gemm where the build has cuBLAS
void register_conv2d();       // conv2d.cu, conv2d_*.cu: forward, input gradient, weight gradient
void register_optim();        // optim.cu: adam, sgd

}  // namespace asap::cuda
