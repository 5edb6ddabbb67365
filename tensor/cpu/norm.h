// Instance normalisation for kernels that end with one (conv2d_instance_norm.cpp). Next: norm.cpp.
#pragma once

#include "tensor/kernels.h"

namespace asap::cpu {

// instance_norm_forward with x = y: every element is read before it is written.
void instance_norm_in_place(const Tensor& gamma, const Tensor& beta, const NormParams& params, Tensor& y, Tensor& mean,
                            Tensor& rstd);

}  // namespace asap::cpu
