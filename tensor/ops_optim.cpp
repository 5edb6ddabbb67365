// Checked random numbers and optimiser steps. Declared in ops.h; the kernels are cpu/random.cpp and cpu/optim.cpp.
#include <algorithm>
#include <string>
#include <vector>

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

// What the kernel gets of the caller's lists: the parameters that have elements, their gradients packed.
struct AdamList {
  std::vector<Tensor> grads, values, m, v;
  void add(const Tensor& grad, const Tensor& value, const Tensor& mean, const Tensor& square) {
    grads.push_back(grad);
    values.push_back(value);
    m.push_back(mean);
    v.push_back(square);
  }
};

// Parameters are stepped all at once: one listed twice would be written by two threads.
void check_distinct(const std::vector<Tensor>& values) {
  std::vector<const void*> places;
  for (const Tensor& value : values) places.push_back(value.raw());
  std::sort(places.begin(), places.end());
  ASAP_CHECK(std::adjacent_find(places.begin(), places.end()) == places.end(),
             "adam_step: expected every parameter once, got one twice");
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

void adam_step(std::span<const Tensor> grads, const AdamParams& params, std::span<Tensor> values, std::span<Tensor> m,
               std::span<Tensor> v) {
  ASAP_CHECK(params.step >= 1, "adam_step: expected step to count from 1, got ", params.step);
  ASAP_CHECK(is_decay_rate(params.beta1) && is_decay_rate(params.beta2),
             "adam_step: expected beta1 and beta2 in [0, 1), got ", params.beta1, " and ", params.beta2);
  ASAP_CHECK(grads.size() == values.size() && m.size() == values.size() && v.size() == values.size(),
             "adam_step: expected equally many gradients, parameters and moments, got ", grads.size(), ", ",
             values.size(), ", ", m.size(), " and ", v.size());
  AdamList list;
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string op = "adam_step, parameter " + std::to_string(i);
    check_step(op.c_str(), grads[i], values[i]);
    check_state(op.c_str(), "m", m[i], values[i]);
    check_state(op.c_str(), "v", v[i], values[i]);
    checks::alike(op.c_str(), values[i], values[0]);
    if (values[i].numel() > 0) list.add(grads[i].contiguous(), values[i], m[i], v[i]);
  }
  if (list.values.empty()) return;
  check_distinct(list.values);
  kernels::adam.run(values[0].device(), list.grads, params, list.values, list.m, list.v);
  for (auto* tensors : {&list.values, &list.m, &list.v}) {
    for (Tensor& tensor : *tensors) tensor.bump_version();
  }
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
