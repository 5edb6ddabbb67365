// Rows of op_cases.h: optimiser steps. A row's result is parameter and state after one step, joined.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

// Inputs: gradient, parameter, first and second moment.
Variable run_adam(const Inputs& in, const AdamParams& params) {
  Tensor param = in[1].value().clone(), m = in[2].value().clone(), v = in[3].value().clone();
  adam_step(in[0].value(), params, param, m, v);
  return Variable(cat(std::vector<Tensor>{param, m, v}, 0));
}

// Inputs: gradient, parameter, velocity (unused without momentum).
Variable run_sgd(const Inputs& in, const SgdParams& params) {
  Tensor param = in[1].value().clone();
  Tensor velocity = params.momentum == 0 ? Tensor() : in[2].value().clone();
  sgd_step(in[0].value(), params, param, velocity);
  return Variable(params.momentum == 0 ? param : cat(std::vector<Tensor>{param, velocity}, 0));
}

const Shape kShape{5, 10037};  // enough for a second thread

OpCase adam_case(const char* name, const AdamParams& params) {
  return {.name = str("adam/", name),
          .inputs = {constant(normal(kShape)), constant(normal(kShape)), constant(normal(kShape)), constant(positive(kShape))},
          .run = [params](const Inputs& in) { return run_adam(in, params); },
          .slots = {&kernels::adam}};
}

OpCase sgd_case(const char* name, const SgdParams& params) {
  return {.name = str("sgd/", name),
          .inputs = {constant(normal(kShape)), constant(normal(kShape)), constant(normal(kShape))},
          .run = [params](const Inputs& in) { return run_sgd(in, params); },
          .slots = {&kernels::sgd}};
}

}  // namespace

std::vector<OpCase> optim_cases() {
  constexpr int64_t kMany = 16 << 20;
  const OpInput values = constant(normal({kMany}));
  return {
      adam_case("first_step", {.lr = 0.1}),
      adam_case("model", {.lr = 0.1, .beta1 = 0, .beta2 = 0.9, .step = 3}),
      adam_case("weight_decay", {.lr = 0.01, .beta1 = 0.5, .weight_decay = 0.1, .step = 100}),
      adam_case("late_step", {.lr = 0.01, .step = 1000000}),
      sgd_case("plain", {.lr = 0.1}),
      sgd_case("weight_decay", {.lr = 0.1, .weight_decay = 0.2}),
      sgd_case("momentum", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.2}),
      sgd_case("nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true}),
      // In place on its own inputs, as training does: the numbers change from run to run, the work does not.
      {.name = "adam/16M", .inputs = {values, values, values, constant(positive({kMany}))},
       .run = [](const Inputs& in) {
         Tensor param = in[1].value(), m = in[2].value(), v = in[3].value();
         adam_step(in[0].value(), {.step = 10}, param, m, v);
         return Variable(param);
       },
       .slots = {&kernels::adam}, .tolerance = 1e-5, .large = true,
       .flops = 14.0 * kMany, .bytes = 7.0 * 4 * kMany},  // four read, three written
  };
}

}  // namespace asap::tests
