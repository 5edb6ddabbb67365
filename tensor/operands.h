// How ops hand tensors to kernels where dtypes or layouts meet. Beside a bf16 x, a weight may be f32, which the op rounds;
// the numbers of a channel (bias, gamma, beta, statistics) and their gradients are f32. Used by ops_*.cpp only.
#pragma once

#include "tensor/checks.h"
#include "tensor/kernels.h"

namespace asap {

// w of a product: of x's dtype. An f32 w beside a bf16 x is rounded, and laid out as x is.
inline Tensor product_operand(const char* op, const Tensor& x, const Tensor& w) {
  if (x.dtype() != DType::bf16 || !w.defined() || w.dtype() != DType::f32) {
    checks::alike(op, x, w);
    return w;
  }
  checks::one_device(op, x, w);
  Tensor rounded = Tensor::empty(w.shape(), x.dtype(), x.device(), x.layout());
  kernels::copy.run(x.device(), w, rounded);
  return rounded;
}

// dy beside x: as it lies, or, where that is in neither layout and kernels would get a copy anyway, in x's layout.
inline Tensor cotangent_operand(const Tensor& x, const Tensor& dy) {
  return dy.is_contiguous() || dy.is_channels_last() ? dy : dy.to(x.layout());
}

namespace checks {

inline void has_sum_dtype(const char* op, const char* what, const Tensor& x, const Tensor& parameter) {
  ASAP_CHECK(parameter.defined(), op, ": expected a tensor for ", what, ", got an undefined one");
  one_device(op, x, parameter);
  ASAP_CHECK(parameter.dtype() == sum_dtype(x.dtype()), op, ": expected ", what, " to be ", sum_dtype(x.dtype()),
             " beside x of ", x.dtype(), ", got ", parameter.dtype());
}

}  // namespace checks
}  // namespace asap
