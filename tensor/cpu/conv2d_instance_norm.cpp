// Convolution with instance norm behind it: the fast convolution into y, then the norm in place.
#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_bf16.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

void convolve_then_norm(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta,
                        const Conv2dParams& conv_params, const NormParams& norm_params, Tensor& y) {
  kernels::conv2d_forward.run(Device::cpu, x, w, Tensor(), conv_params, y);
  Tensor mean = Tensor::empty({y.size(0), y.size(1)}, sum_dtype(y.dtype())), rstd = Tensor::like(mean);
  kernels::norm_forward.run(Device::cpu, y, gamma, beta, norm_params, y, mean, rstd);
}

}  // namespace

void register_conv2d_instance_norm() {
  kernels::conv2d_instance_norm.add(
      Device::cpu, "composed", convolve_then_norm,
      [](const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const Conv2dParams& p, const NormParams&, Tensor& y) {
        const Takes ordinary;
        return (ordinary.tensor(x) && ordinary.tensor(w) && ordinary.tensor(y)) || takes_bf16_blocks(x, w, p, y) ||
               takes_winograd(x, w, p, y, Pass::forward);
      },
      {.strided = true, .bf16 = true});
}

}  // namespace asap::cpu
