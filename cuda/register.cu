// The CUDA backend's kernels, family by family. Next: any .cu file beside this one; the contract is tensor/kernels.h.
#include "cuda/register.h"

namespace asap::cuda {

void register_kernels() {
  register_copy();
  register_conv_layer();
}

}  // namespace asap::cuda
