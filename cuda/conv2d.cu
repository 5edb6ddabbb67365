// Registers the convolution kernels of the card, fastest first. Next: conv2d_naive.cu.
#include "cuda/conv2d.h"
#include "cuda/register.h"

namespace asap::cuda {

void register_conv2d() {
  kernels::conv2d_forward.add(Device::cuda, "naive", conv2d_forward_naive);
  kernels::conv2d_input_grad.add(Device::cuda, "naive", conv2d_input_grad_naive);
  kernels::conv2d_weight_grad.add(Device::cuda, "naive", conv2d_weight_grad_naive);
}

}  // namespace asap::cuda
