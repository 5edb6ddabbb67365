// Rows of op_cases.h: losses. They have no kernel of their own: these rows are for the gradient check.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

OpCase row(const char* name, std::vector<OpInput> inputs, Variable (*run)(const Inputs&)) {
  return {.name = str("loss/", name), .inputs = std::move(inputs), .run = run, .not_bf16 = "losses are f32"};
}

}  // namespace

std::vector<OpCase> loss_cases() {
  return {
      row("l1", {normal({2, 3, 5}), normal({2, 3, 5})}, [](const Inputs& in) { return l1_loss(in[0], in[1]); }),
      row("l1_constant", {constant(normal({37})), normal({37})}, [](const Inputs& in) { return l1_loss(in[0], in[1]); }),
      row("mse", {normal({2, 3, 5}), normal({2, 3, 5})}, [](const Inputs& in) { return mse_loss(in[0], in[1]); }),
      row("mse_constant", {normal({37}), constant(normal({37}))}, [](const Inputs& in) { return mse_loss(in[0], in[1]); }),
      row("bce", {normal({3, 7}, 2), unit({3, 7})}, [](const Inputs& in) { return bce_with_logits(in[0], in[1]); }),
      row("bce_extreme", {normal({3, 7}, 500), constant(unit({3, 7}))},
          [](const Inputs& in) { return bce_with_logits(in[0], in[1]); }),
      row("cross_entropy", {normal({5, 7}, 3), indices({5}, 7)},
          [](const Inputs& in) { return cross_entropy(in[0], in[1].value()); }),
      row("cross_entropy_picture", {normal({2, 4, 3, 5}), indices({2, 3, 5}, 4)},
          [](const Inputs& in) { return cross_entropy(in[0], in[1].value()); }),
      row("cross_entropy_ignore", {normal({2, 4, 3, 5}), compact(indices({2, 3, 5}, 4))},
          [](const Inputs& in) { return cross_entropy(in[0], in[1].value(), 2); }),
      row("cross_entropy_smoothing", {normal({2, 4, 3, 5}), indices({2, 3, 5}, 4)},
          [](const Inputs& in) { return cross_entropy(in[0], in[1].value(), 2, 0.1); }),
      row("hinge", {off_zero({2, 1, 5, 5})}, [](const Inputs& in) { return mean(relu(1.0 + in[0])) + mean(relu(1.0 - in[0])); }),
  };
}

}  // namespace asap::tests
