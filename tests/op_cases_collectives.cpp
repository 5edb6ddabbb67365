// Rows of the collectives, for a single rank. test_ranks.cpp has more than one.
#include "tests/op_cases.h"

namespace asap::tests {

std::vector<OpCase> collective_cases() {
  using Inputs = std::vector<Variable>;
  const auto in_place = [](const Inputs& in, auto&& collective) {
    Tensor x = in[0].value().clone();
    collective(x);
    return Variable(x);
  };
  return {
      {.name = "all_reduce/one_rank", .inputs = {constant(normal({3, 5}))},
       .run = [=](const Inputs& in) { return in_place(in, [](Tensor& x) { all_reduce({}, x.dtype(), x); }); },
       .slots = {&kernels::all_reduce}, .not_bf16 = "sums of gradients and losses are f32 or f64"},
      {.name = "broadcast/one_rank", .inputs = {constant(normal({3, 5}))},
       .run = [=](const Inputs& in) { return in_place(in, [](Tensor& x) { broadcast({}, x); }); },
       .slots = {&kernels::broadcast}},
      {.name = "all_gather/one_rank", .inputs = {constant(normal({3, 5}))},
       .run = [](const Inputs& in) { return Variable(all_gather({}, in[0].value())); }, .slots = {&kernels::all_gather}},
  };
}

}  // namespace asap::tests
