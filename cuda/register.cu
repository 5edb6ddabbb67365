// The CUDA backend's kernels, family by family. Next: any .cu file beside this one; the contract is tensor/kernels.h.
#include "cuda/register.h"

namespace asap::cuda {

void register_kernels() {
  register_copy();
  register_elementwise();
  register_reduce();
  register_matmul();
  register_conv2d();
  register_norm();
  register_pool();
  register_tile_mlp();
  register_label_planes();
  register_conv2d_channels_last();
  register_optim();
  register_collectives();
  register_naive();
}

}  // namespace asap::cuda
