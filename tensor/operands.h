// How ops hand tensors to kernels where dtypes or layouts meet. Beside a bf16 x, a weight may be f32, which the op rounds;
// the numbers of a channel (bias, gamma, beta, statistics) and their gradients are f32. Used where weights are kept for products, too.
#pragma once

#include "tensor/checks.h"
#include "tensor/cpu/isa.h"
#include "tensor/kernels.h"

namespace asap {

// How weights lie best beside pictures that lie so: in the same way; on a CPU that multiplies bf16, channels-last, since its
// kernels then need not gather what they multiply.
inline Layout weight_layout(Device device, DType dtype, Layout pictures) {
  return device == Device::cpu && dtype == DType::bf16 && cpu::has_bf16_products() ? Layout::channels_last : pictures;
}

// Whether a product with x rounds w, and what it makes of it.
inline bool is_rounded(const Tensor& x, const Tensor& w) {
  return x.dtype() == DType::bf16 && w.defined() && w.dtype() == DType::f32;
}
// In x's layout: turning all weights at every step would cost more than the kernels gain.
inline Tensor rounded(const Tensor& x, const Tensor& w) {
  Tensor result = Tensor::empty(w.shape(), x.dtype(), w.device(), x.layout());
  kernels::copy.run(w.device(), w, result);
  return result;
}

// w of a product with x.
inline Tensor product_operand(const char* op, const Tensor& x, const Tensor& w) {
  is_rounded(x, w) ? checks::one_device(op, x, w) : checks::alike(op, x, w);
  return is_rounded(x, w) ? rounded(x, w) : w;
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
