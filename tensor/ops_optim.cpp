// Checked optimiser steps. Declared in ops.h; Adam is defined in definitions/optim.h, SGD is composed here.
#include <algorithm>
#include <iterator>
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

// Parameters are stepped all at once: one listed twice, or lying on another, would be written by two threads.
void check_distinct(std::span<const Tensor> all) {
  std::vector<Tensor> values;
  std::copy_if(all.begin(), all.end(), std::back_inserter(values), [](const Tensor& x) { return x.numel() > 0; });
  std::sort(values.begin(), values.end(), [](const Tensor& a, const Tensor& b) { return a.raw() < b.raw(); });
  for (size_t i = 1; i < values.size(); ++i) {
    ASAP_CHECK(values[i - 1].raw() != values[i].raw(), "adam_step: expected every parameter once, got one twice");
    ASAP_CHECK(!values[i - 1].overlaps(values[i]), "adam_step: parameters of shapes ", values[i - 1].shape(), " and ",
               values[i].shape(), " lie on the same memory");
  }
}

constexpr int64_t kStateSize = sizeof(AdamState) / sizeof(double);

// Checks what both halves of a step are given.
void check_adam(const char* op, const AdamParams& params, const Tensor& state) {
  const auto is_decay_rate = [](double beta) { return beta >= 0 && beta < 1; };
  ASAP_CHECK(is_decay_rate(params.beta1) && is_decay_rate(params.beta2), op,
             ": expected beta1 and beta2 in [0, 1), got ", params.beta1, " and ", params.beta2);
  ASAP_CHECK(state.defined() && state.dtype() == DType::f64 && state.is_contiguous(), op,
             ": expected a state as adam_state makes it");
  checks::has_shape(op, "state", state, {kStateSize});
}

}  // namespace

Tensor adam_state(double lr, int64_t steps, Device device) {
  ASAP_CHECK(steps >= 0, "adam_state: expected a number of steps, got ", steps);
  return Tensor::from<double>({lr, static_cast<double>(steps), 0, 0, 0}, {kStateSize}, device);
}

void adam_begin(const Tensor& losses, const AdamParams& params, Tensor& state) {
  check_adam("adam_begin", params, state);
  if (losses.defined()) {
    checks::is_floating("adam_begin", "losses", losses);
    ASAP_CHECK(losses.device() == state.device(), "adam_begin: losses are on ", losses.device(), ", but the state on ",
               state.device());
  }
  kernels::adam_begin.run(state.device(), losses, params, state);
  state.bump_version();
}

void adam_step(std::span<const Tensor> grads, const AdamParams& params, const Tensor& state, std::span<Tensor> values,
               std::span<Tensor> m, std::span<Tensor> v) {
  check_adam("adam_step", params, state);
  ASAP_CHECK(grads.size() == values.size() && m.size() == values.size() && v.size() == values.size(),
             "adam_step: expected equally many gradients, parameters and moments, got ", grads.size(), ", ",
             values.size(), ", ", m.size(), " and ", v.size());
  std::vector<Tensor> packed;  // gradients: a slot that updates gets no copies
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string op = "adam_step, parameter " + std::to_string(i);
    check_step(op.c_str(), grads[i], values[i]);
    if (params.beta1 != 0) check_state(op.c_str(), "m", m[i], values[i]);
    check_state(op.c_str(), "v", v[i], values[i]);
    checks::alike(op.c_str(), values[i], values[0]);
    packed.push_back(grads[i].contiguous());
  }
  if (values.empty()) return;
  check_distinct(values);
  ASAP_CHECK(values[0].device() == state.device(), "adam_step: the parameters are on ", values[0].device(),
             ", but the state on ", state.device());
  kernels::adam.run(values[0].device(), packed, params, state, values, m, v);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i].bump_version();
    if (params.beta1 != 0) m[i].bump_version();
    v[i].bump_version();
  }
}

void sgd_step(const Tensor& grad, const SgdParams& params, Tensor& param, Tensor& velocity) {
  check_step("sgd_step", grad, param);
  ASAP_CHECK(!params.nesterov || params.momentum != 0, "sgd_step: expected a momentum with nesterov, got 0");
  if (params.momentum != 0) check_state("sgd_step", "velocity", velocity, param);
  Tensor step = params.weight_decay == 0 ? grad : add(grad, affine(param, params.weight_decay, 0));
  if (params.momentum != 0) {
    velocity.copy_from(add(affine(velocity, params.momentum, 0), step));
    step = params.nesterov ? add(step, affine(velocity, params.momentum, 0)) : velocity;
  }
  param.copy_from(sub(param, affine(step, params.lr, 0)));
}

}  // namespace asap
