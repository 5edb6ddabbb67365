// Checked random numbers and optimiser steps. Declared in ops.h; the kernels are cpu/random.cpp and cpu/optim.cpp.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// A tensor that a step writes in place, beside the parameter.
void check_state(const char* op, const char* what, const Tensor& state, const Tensor& param) {
  ASAP_CHECK(state.defined(), op, ": expected a tensor for ", what, ", got an undefined one");
  checks::alike(op, state, param);
  checks::has_shape(op, what, state, param.shape());
  ASAP_CHECK(state.is_contiguous(), op, ": expected ", what, " ", state.shape(), " to be contiguous, got strides ",
             state.strides());
}

void check_step(const char* op, const Tensor& grad, const Tensor& param) {
  checks::is_floating(op, "param", param);
  check_state(op, "param", param, param);
  ASAP_CHECK(grad.defined(), op, ": expected a tensor for grad, got an undefined one");
  checks::alike(op, grad, param);
  checks::has_shape(op, "grad", grad, param.shape());
}

bool is_decay_rate(double beta) { return beta >= 0 && beta < 1; }

}  // namespace

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

void adam_step(const Tensor& grad, const AdamParams& params, Tensor& param, Tensor& m, Tensor& v) {
  check_step("adam_step", grad, param);
  check_state("adam_step", "m", m, param);
  check_state("adam_step", "v", v, param);
  ASAP_CHECK(params.step >= 1, "adam_step: expected step to count from 1, got ", params.step);
  ASAP_CHECK(is_decay_rate(params.beta1) && is_decay_rate(params.beta2),
             "adam_step: expected beta1 and beta2 in [0, 1), got ", params.beta1, " and ", params.beta2);
  const Tensor packed = grad.contiguous();
  kernels::adam.run(param.device(), {&packed, 1}, params, {&param, 1}, {&m, 1}, {&v, 1});
  param.bump_version();
  m.bump_version();
  v.bump_version();
}

void sgd_step(const Tensor& grad, const SgdParams& params, Tensor& param, Tensor& velocity) {
  check_step("sgd_step", grad, param);
  ASAP_CHECK(!params.nesterov || params.momentum != 0, "sgd_step: expected a momentum with nesterov, got 0");
  if (params.momentum != 0) check_state("sgd_step", "velocity", velocity, param);
  kernels::sgd.run(param.device(), grad.contiguous(), params, param, velocity);
  param.bump_version();
  if (params.momentum != 0) velocity.bump_version();
}

}  // namespace asap
