// Registers the convolution kernels of the CPU, fastest first. Next: conv2d_naive.cpp, then conv2d_im2col.cpp.
#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/register.h"

namespace asap::cpu {

void register_conv2d() {
  kernels::conv2d_forward.add(Device::cpu, "im2col", conv2d_forward_im2col);
  kernels::conv2d_forward.add(Device::cpu, "naive", conv2d_forward_naive);
  kernels::conv2d_input_grad.add(Device::cpu, "im2col", conv2d_input_grad_im2col);
  kernels::conv2d_input_grad.add(Device::cpu, "naive", conv2d_input_grad_naive);
  kernels::conv2d_weight_grad.add(Device::cpu, "im2col", conv2d_weight_grad_im2col);
  kernels::conv2d_weight_grad.add(Device::cpu, "naive", conv2d_weight_grad_naive);
}

}  // namespace asap::cpu
