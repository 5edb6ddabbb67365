// Rows of op_cases.h: optimiser steps. A row's result is parameter and state after one step, joined.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

// Parameters with their gradients and moments, stepped in one call.
struct AdamLists {
  std::vector<Tensor> grads, values, m, v;
  // Inputs: gradient, parameter, first and second moment of one parameter after the other.
  explicit AdamLists(const Inputs& in) {
    for (size_t i = 0; i < in.size(); i += 4) {
      grads.push_back(in[i].value());
      values.push_back(in[i + 1].value());
      m.push_back(in[i + 2].value());
      v.push_back(in[i + 3].value());
    }
  }
  void step(const AdamParams& params) { adam_step(grads, params, values, m, v); }
};

Variable run_adam(const Inputs& in, const AdamParams& params) {
  AdamLists lists(in);
  std::vector<Tensor> results;
  for (auto* tensors : {&lists.values, &lists.m, &lists.v}) {
    for (Tensor& tensor : *tensors) tensor = tensor.clone();
  }
  lists.step(params);
  for (auto* tensors : {&lists.values, &lists.m, &lists.v}) {
    for (const Tensor& tensor : *tensors) results.push_back(tensor.reshape({-1}));
  }
  return Variable(cat(results, 0));
}

// Inputs: gradient, parameter, velocity (unused without momentum).
Variable run_sgd(const Inputs& in, const SgdParams& params) {
  Tensor param = in[1].value().clone();
  Tensor velocity = params.momentum == 0 ? Tensor() : in[2].value().clone();
  sgd_step(in[0].value(), params, param, velocity);
  return Variable(params.momentum == 0 ? param : cat(std::vector<Tensor>{param, velocity}, 0));
}

const Shape kShape{5, 10037};  // enough for a second thread

std::vector<OpInput> adam_inputs(const std::vector<Shape>& shapes) {
  std::vector<OpInput> inputs;
  for (const Shape& shape : shapes) {
    for (int i = 0; i < 3; ++i) inputs.push_back(constant(normal(shape)));
    inputs.push_back(constant(positive(shape)));
  }
  return inputs;
}

OpCase adam_case(const char* name, const AdamParams& params, const std::vector<Shape>& shapes = {kShape}) {
  return {.name = str("adam/", name),
          .inputs = adam_inputs(shapes),
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
  constexpr int64_t kMany = 16 << 20, kPart = 4096;
  const OpInput values = constant(normal({kMany}));
  return {
      adam_case("first_step", {.lr = 0.1}),
      adam_case("model", {.lr = 0.1, .beta1 = 0, .beta2 = 0.9, .step = 3}),
      adam_case("weight_decay", {.lr = 0.01, .beta1 = 0.5, .weight_decay = 0.1, .step = 100}),
      adam_case("late_step", {.lr = 0.01, .step = 1000000}),
      // Sizes that fill no block, one behind the other: what belongs to which parameter must not shift.
      adam_case("several_parameters", {.lr = 0.1, .beta1 = 0.5, .weight_decay = 0.1, .step = 7},
                {{1}, {70001}, {3, 5, 7}, {17}, {257, 3}}),
      // More than one launch of a device takes.
      adam_case("hundreds_of_parameters", {.lr = 0.1, .step = 7}, std::vector<Shape>(201, Shape{5})),
      // Views that begin one element into their memory.
      {.name = "adam/unaligned", .inputs = adam_inputs({{1031}}),
       .run = [](const Inputs& in) {
         Inputs views;
         for (const Variable& x : in) views.emplace_back(x.value().clone().slice(0, 1, 1031));
         AdamLists lists(views);
         lists.step({.lr = 0.1, .step = 7});
         return Variable(cat(std::vector<Tensor>{lists.values[0], lists.m[0], lists.v[0]}, 0));
       },
       .slots = {&kernels::adam}},
      sgd_case("plain", {.lr = 0.1}),
      sgd_case("weight_decay", {.lr = 0.1, .weight_decay = 0.2}),
      sgd_case("momentum", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.2}),
      sgd_case("nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true}),
      // In place on its own inputs, as training does: the numbers change from run to run, the work does not.
      {.name = "adam/16M", .inputs = {values, values, values, constant(positive({kMany}))},
       .run = [](const Inputs& in) {
         AdamLists(in).step({.step = 10});
         return in[1];
       },
       .slots = {&kernels::adam}, .tolerance = 1e-5, .large = true,
       .flops = 14.0 * kMany, .bytes = 7.0 * 4 * kMany},  // four read, three written
      // As many parameters as a network has, all small: what each costs beside its elements.
      {.name = "adam/256x4096", .inputs = adam_inputs(std::vector<Shape>(256, Shape{kPart})),
       .run = [](const Inputs& in) {
         AdamLists(in).step({.step = 10});
         return in[1];
       },
       .slots = {&kernels::adam}, .tolerance = 1e-5, .large = true,
       .flops = 14.0 * 256 * kPart, .bytes = 7.0 * 4 * 256 * kPart},
  };
}

}  // namespace asap::tests
