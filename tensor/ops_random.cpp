// Checked random numbers. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {

Tensor random_uniform(const Shape& shape, const RandomParams& params, DType dtype, Device device) {
  ASAP_CHECK(is_floating(dtype), "random_uniform: expected f32 or f64, got ", dtype);
  ASAP_CHECK(params.a <= params.b, "random_uniform: expected bounds a <= b, got [", params.a, ", ", params.b, ")");
  Tensor y = Tensor::empty(shape, dtype, device);
  kernels::random_uniform.run(device, params, y);
  return y;
}

Tensor random_normal(const Shape& shape, const RandomParams& params, DType dtype, Device device) {
  ASAP_CHECK(is_floating(dtype), "random_normal: expected f32 or f64, got ", dtype);
  ASAP_CHECK(params.b >= 0, "random_normal: expected a standard deviation of at least 0, got ", params.b);
  Tensor y = Tensor::empty(shape, dtype, device);
  kernels::random_normal.run(device, params, y);
  return y;
}

}  // namespace asap
