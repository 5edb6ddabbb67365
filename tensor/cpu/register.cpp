// The CPU backend's kernels, family by family. Next: any file beside this one; the contract is ../kernels.h.
#include "tensor/cpu/register.h"

#include "tensor/backend.h"

namespace asap::cpu {

void register_kernels() {
  register_copy();
  register_random();
  register_elementwise();
  register_reduce();
  register_gather();
  register_matmul();
  register_conv2d();
  register_norm();
  register_conv2d_instance_norm();
  register_pool();
  register_tile_mlp();
  register_label_planes();
  register_optim();
  register_naive();
}

}  // namespace asap::cpu
