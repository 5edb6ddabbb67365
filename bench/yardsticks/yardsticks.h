// NVIDIA's own libraries as variants of our kernels: what ours are measured against. For benchmarks and the op table's test;
// the program asapnet knows nothing of them. They stand behind `naive` and so run only where they are forced or timed.
//   cublaslt.cpp  cublaslt, cublaslt_tf32, cublaslt_bf16   of matmul
//   cudnn.cpp     cudnn, cudnn_tf32, cudnn_bf16            of conv2d_forward, conv2d_input_grad, conv2d_weight_grad
// The libraries are opened at run time: where one is missing its variants are not there, and one line on stderr says so.
// ASAP_YARDSTICKS=0 leaves them all out.
#pragma once

namespace asap::cuda {

// Call it before anything else, so that ASAP_KERNEL may name these variants. Without a card it adds nothing.
void register_yardsticks();

}  // namespace asap::cuda
