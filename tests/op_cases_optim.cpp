// Rows of op_cases.h: optimiser steps. A row's result is parameter and state after one step, joined.
#include <cmath>
#include <limits>
#include <map>

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
  void step(const AdamParams& params, const Tensor& state) { adam_step(grads, params, state, values, m, v); }
};

struct AdamRow {
  AdamParams params = {};
  double lr = 0.1;
  int64_t step = 1;
  double loss = 1;
  Tensor state(Device device) const {
    Tensor begun = adam_state(lr, step - 1, device);
    adam_begin(Tensor::full({3}, loss, DType::f32, device), params, begun);
    return begun;
  }
};

Variable run_adam(const Inputs& in, const AdamRow& row) {
  AdamLists lists(in);
  std::vector<Tensor> results;
  for (auto* tensors : {&lists.values, &lists.m, &lists.v}) {
    for (Tensor& tensor : *tensors) tensor = tensor.clone();
  }
  if (row.params.beta1 == 0) lists.m.assign(lists.m.size(), Tensor());
  lists.step(row.params, row.state(in[0].device()));
  if (row.params.beta1 == 0) lists.m.clear();
  for (auto* tensors : {&lists.values, &lists.m, &lists.v}) {
    for (const Tensor& tensor : *tensors) results.push_back(tensor.reshape({-1}));
  }
  return Variable(cat(results, 0));
}

// The rate, scale and whether the step goes, of losses / divisor.
Variable run_adam_begin(const Inputs& in, double divisor) {
  Tensor state = adam_state(0.7, 6, in[0].device());
  adam_begin(affine(in[0].value(), 1 / divisor, 0), {.beta1 = 0.5}, state);
  state.slice(0, 1, 2).copy_from(affine(state.slice(0, 1, 2), 1.0 / 8, 0));  // the step, of the others' size
  return Variable(state);
}

// Inputs: gradient, parameter, velocity (unused without momentum).
Variable run_sgd(const Inputs& in, const SgdParams& params) {
  Tensor param = in[1].value().clone();
  Tensor velocity = params.momentum == 0 ? Tensor() : in[2].value().clone();
  sgd_step(in[0].value(), params, param, velocity);
  return Variable(params.momentum == 0 ? param : cat(std::vector<Tensor>{param, velocity}, 0));
}

const Shape kShape{5, 10037};  // enough for a second thread
constexpr AdamParams kModel{.beta1 = 0, .beta2 = 0.9};  // without first moments
constexpr const char* kF32 = "optimisers keep f32";

std::vector<OpInput> adam_inputs(const std::vector<Shape>& shapes) {
  std::vector<OpInput> inputs;
  for (const Shape& shape : shapes) {
    for (int i = 0; i < 3; ++i) inputs.push_back(constant(normal(shape)));
    inputs.push_back(constant(positive(shape)));
  }
  return inputs;
}

OpCase adam_case(const char* name, const AdamRow& row, const std::vector<Shape>& shapes = {kShape}) {
  return {.name = str("adam/", name),
          .inputs = adam_inputs(shapes),
          .run = [row](const Inputs& in) { return run_adam(in, row); },
          .slots = {&kernels::adam},
          .not_bf16 = kF32};
}

// In place on its own inputs, as training does: the numbers change from run to run, the work does not.
OpCase large_adam_case(const char* name, const AdamParams& params, int64_t count, std::vector<OpInput> inputs) {
  const bool momentum = params.beta1 != 0;
  const auto elements = static_cast<double>(count);
  return {.name = str("adam/", name),
          .inputs = std::move(inputs),
          .run =
              [params, states = std::make_shared<std::map<Device, Tensor>>()](const Inputs& in) {
                Tensor& state = (*states)[in[0].device()];
                if (!state.defined()) state = AdamRow{.params = params, .step = 10}.state(in[0].device());
                AdamLists(in).step(params, state);
                return in[1];
              },
          .slots = {&kernels::adam},
          .tolerance = 1e-5,
          .large = true,
          .flops = (momentum ? 14 : 11) * elements,
          .bytes = 4 * (momentum ? 4 + 3 : 3 + 2) * elements};  // read + written
}

OpCase sgd_case(const char* name, const SgdParams& params) {
  return {.name = str("sgd/", name),
          .inputs = {constant(normal(kShape)), constant(normal(kShape)), constant(normal(kShape))},
          .run = [params](const Inputs& in) { return run_sgd(in, params); },
          .slots = {&kernels::binary},
          .not_bf16 = kF32};
}

}  // namespace

std::vector<OpCase> optim_cases() {
  constexpr int64_t kMany = 16 << 20, kPart = 4096;
  const std::vector<Shape> several{{1}, {70001}, {3, 5, 7}, {17}, {257, 3}};
  return {
      {.name = "adam_begin/finite", .inputs = {constant(normal({5}))},
       .run = [](const Inputs& in) { return run_adam_begin(in, 1); }, .slots = {&kernels::adam_begin}, .not_bf16 = kF32},
      {.name = "adam_begin/not_finite", .inputs = {constant(normal({5}))},
       .run = [](const Inputs& in) { return run_adam_begin(in, 0); }, .slots = {&kernels::adam_begin}, .not_bf16 = kF32},
      adam_case("first_step", {}),
      adam_case("model", {.params = kModel, .step = 3}),
      adam_case("weight_decay", {.params = {.beta1 = 0.5, .weight_decay = 0.1}, .lr = 0.01, .step = 100}),
      adam_case("decoupled", {.params = {.beta1 = 0.5, .weight_decay = 0.1, .decoupled = true}, .lr = 0.5, .step = 3}),
      adam_case("model_decoupled", {.params = {.beta1 = 0, .beta2 = 0.9, .weight_decay = 0.1, .decoupled = true}, .step = 3}),
      adam_case("late_step", {.lr = 0.01, .step = 1000000}),
      // A loss that is not finite: everything stays as it was.
      adam_case("stopped", {.step = 7, .loss = std::numeric_limits<double>::infinity()}),
      adam_case("model_stopped", {.params = kModel, .step = 7, .loss = std::nan("")}),
      // Sizes that fill no block, one behind the other: what belongs to which parameter must not shift.
      adam_case("several_parameters", {.params = {.beta1 = 0.5, .weight_decay = 0.1}, .step = 7}, several),
      adam_case("model_several_parameters", {.params = kModel, .step = 7}, several),
      adam_case("decoupled_several_parameters", {.params = {.weight_decay = 0.1, .decoupled = true}, .step = 7}, several),
      // More than one launch of a device takes.
      adam_case("hundreds_of_parameters", {.step = 7}, std::vector<Shape>(201, Shape{5})),
      // Views that begin one element into their memory.
      {.name = "adam/unaligned", .inputs = adam_inputs({{1031}}),
       .run = [](const Inputs& in) {
         Inputs views;
         for (const Variable& x : in) views.emplace_back(x.value().clone().slice(0, 1, 1031));
         AdamLists lists(views);
         lists.step({}, AdamRow{.step = 7}.state(in[0].device()));
         return Variable(cat(std::vector<Tensor>{lists.values[0], lists.m[0], lists.v[0]}, 0));
       },
       .slots = {&kernels::adam}, .not_bf16 = kF32},
      sgd_case("plain", {.lr = 0.1}),
      sgd_case("weight_decay", {.lr = 0.1, .weight_decay = 0.2}),
      sgd_case("momentum", {.lr = 0.1, .momentum = 0.9, .weight_decay = 0.2}),
      sgd_case("nesterov", {.lr = 0.1, .momentum = 0.9, .nesterov = true}),
      large_adam_case("16M", {}, kMany, adam_inputs({{kMany}})),
      large_adam_case("16M_model", kModel, kMany, adam_inputs({{kMany}})),
      // As many parameters as a network has, all small: what each costs beside its elements.
      large_adam_case("256x4096", {}, 256 * kPart, adam_inputs(std::vector<Shape>(256, Shape{kPart}))),
  };
}

}  // namespace asap::tests
