// Checked random numbers. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

void fill(const char* op, const KernelSlot<RandomFn>& kernel, const RandomParams& params, Tensor& y) {
  ASAP_CHECK(is_floating(y.dtype()), op, ": expected f32 or f64, got ", y.dtype());
  y.check_writable(op);
  kernel.run(y.device(), params, y);
  y.bump_version();
}

}  // namespace

void fill_uniform(Tensor& y, const RandomParams& params) {
  ASAP_CHECK(params.a <= params.b, "random_uniform: expected bounds a <= b, got [", params.a, ", ", params.b, ")");
  fill("random_uniform", kernels::random_uniform, params, y);
}

void fill_normal(Tensor& y, const RandomParams& params) {
  ASAP_CHECK(params.b >= 0, "random_normal: expected a standard deviation of at least 0, got ", params.b);
  fill("random_normal", kernels::random_normal, params, y);
}

Tensor random_uniform(const Shape& shape, const RandomParams& params, DType dtype, Device device) {
  Tensor y = Tensor::empty(shape, dtype, device);
  fill_uniform(y, params);
  return y;
}

Tensor random_normal(const Shape& shape, const RandomParams& params, DType dtype, Device device) {
  Tensor y = Tensor::empty(shape, dtype, device);
  fill_normal(y, params);
  return y;
}

}  // namespace asap
