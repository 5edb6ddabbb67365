// Convolution with instance norm behind it. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

// The gradients want what the one kernel does not keep.
Variable conv2d_instance_norm(const Variable& x, const Variable& w, const Variable& gamma, const Variable& beta,
                              const Conv2dParams& conv_params, const NormParams& norm_params) {
  if (grad_enabled() && (x.requires_grad() || w.requires_grad() || gamma.requires_grad() || beta.requires_grad())) {
    return instance_norm(conv2d(x, w, {}, conv_params), gamma, beta, norm_params);
  }
  return conv2d_instance_norm(x.value(), w.operand_beside(x), gamma.value(), beta.value(), conv_params, norm_params);
}

}  // namespace asap
