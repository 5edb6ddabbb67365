// Rows of op_cases.h: reductions and argmax; softmax, which is composed of them and has no kernel of its own.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

std::vector<OpCase> reductions() {
  struct Row {
    const char* name;
    Shape shape;
    std::vector<int> dims;
    bool keepdim;
  };
  const std::vector<Row> shapes{
      {"all", {3, 5, 7}, {}, false},         {"first", {7, 5, 3}, {0}, false},   {"middle", {3, 7, 5}, {1}, true},
      {"last", {3, 5, 7}, {-1}, false},      {"plane", {2, 3, 5, 7}, {2, 3}, true}, {"channels", {2, 3, 5, 7}, {0, 2, 3}, false},
      {"outer_and_inner", {4, 3, 5}, {0, 2}, true}, {"size_1", {3, 1, 5}, {1}, false}, {"long", {4099}, {}, false},
      {"long_rows", {3, 1031}, {1}, false},  {"long_columns", {1031, 3}, {0}, false},
      {"wide_columns", {7, 1037}, {0}, false},
      {"all_parallel", {3, 151, 157}, {}, false}, {"rows_parallel", {151, 3, 157}, {2}, false},
      {"columns_parallel", {157, 2, 251}, {0}, false}, {"channels_parallel", {2, 3, 113, 109}, {0, 2, 3}, false},
  };
  std::vector<OpCase> rows;
  for (const Row& r : shapes) {
    auto row = [&](const char* op, Variable (*f)(const Variable&, const std::vector<int>&, bool)) {
      rows.push_back({.name = str("reduce/", op, "_", r.name), .inputs = {normal(r.shape)},
                      .run = [f, dims = r.dims, keepdim = r.keepdim](const Inputs& in) { return f(in[0], dims, keepdim); },
                      .slots = {&kernels::reduce}});
    };
    row("sum", sum);
    row("mean", mean);
    row("max", max);
  }
  rows.push_back({.name = "reduce/sum_permuted", .inputs = {normal({3, 4, 5})},
                  .run = [](const Inputs& in) { return sum(permute(in[0], {2, 0, 1}), {1}); },
                  .slots = {&kernels::reduce}});
  const std::vector<std::vector<int>> subsets{{}, {0, 2, 3}, {2, 3}, {0}, {-3}, {1, 3}};
  for (size_t i = 0; i < subsets.size(); ++i) {
    rows.push_back({.name = str("reduce/channels_last_", i), .inputs = {normal({2, 8, 3, 5})},
                    .run = [dims = subsets[i]](const Inputs& in) {
                      const Variable x = channels_last(in[0]), upper = slice(x, 2, 0, 2);  // with gaps
                      return mean(x, dims) * sum(x, dims) + max(x, dims) + sum(upper * upper);
                    },
                    .slots = {&kernels::reduce}});
  }
  rows.push_back({.name = "reduce/bf16", .inputs = {compact(normal({2, 8, 31, 5}))},
                  .run = [](const Inputs& in) {
                    const Tensor x = channels_last(in[0]).value();
                    const DType dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
                    return Variable(add(sum(x, {0, 2, 3}, false, dtype), sum(x, {1, 3}).to(dtype).reshape({62, 1})));
                  },
                  .slots = {&kernels::reduce}, .tolerance = kBf16Rounding});
  rows.push_back({.name = "reduce/max_ties", .inputs = {ties({5, 9})},
                  .run = [](const Inputs& in) { return max(in[0], {1}); },
                  .slots = {&kernels::reduce}, .gradcheck = false});
  rows.push_back({.name = "reduce/max_negative", .inputs = {normal({5, 9})},  // an initial value of 0 would win
                  .run = [](const Inputs& in) { return max(in[0] - 100.0, {1}); },
                  .slots = {&kernels::reduce}, .not_bf16 = "x - 100 keeps no digits"});
  return rows;
}

std::vector<OpCase> argmaxes() {
  std::vector<OpCase> rows;
  const auto row = [&rows](const char* name, OpInput x, int dim) {
    rows.push_back({.name = str("argmax/", name), .inputs = {constant(std::move(x))},
                    .run = [dim](const Inputs& in) { return Variable(argmax(in[0].value(), dim)); }, .slots = {&kernels::argmax}});
  };
  row("first", normal({7, 5, 3}), 0);
  row("middle", normal({3, 7, 5}), 1);
  row("last", normal({3, 5, 7}), -1);
  row("ties", ties({5, 9}), 1);
  row("all_equal", unit({4, 1}), 1);
  row("vector", normal({4099}), 0);
  row("classes", normal({2, 8, 5, 7}), 1);
  row("classes_with_gaps", normal({2, 5, 5, 7}), 1);
  row("of_i32", indices({5, 9}, 4), 1);
  row("parallel", normal({3, 35, 41, 43}), 1);
  return rows;
}

std::vector<OpCase> softmaxes() {
  struct Row {
    const char* name;
    OpInput input;
    int dim;
  };
  const std::vector<Row> shapes{{"last", normal({3, 5, 7}), -1},      {"first", normal({5, 3, 2}), 0},
                                {"channels", normal({2, 5, 3, 7}), 1}, {"one_class", normal({3, 1, 5}), 1},
                                {"long", normal({3, 1031}), 1},        {"wide", normal({2, 5, 301}), 1},
                                {"rows_parallel", normal({701, 101}), 1}, {"channels_parallel", normal({2, 35, 37, 41}), 1}};
  std::vector<OpCase> rows;
  auto row = [&rows](const std::string& name, std::vector<OpInput> inputs, std::function<Variable(const Inputs&)> run) {
    rows.push_back({.name = name, .inputs = std::move(inputs), .run = std::move(run)});
  };
  for (const Row& r : shapes) {
    row(str("softmax/", r.name), {r.input}, [dim = r.dim](const Inputs& in) { return softmax(in[0], dim); });
    row(str("log_softmax/", r.name), {r.input}, [dim = r.dim](const Inputs& in) { return log_softmax(in[0], dim); });
  }
  for (const int dim : {0, 1, 3}) {
    row(str("softmax/channels_last_", dim), {normal({2, 8, 3, 5})}, [dim](const Inputs& in) {
      return softmax(channels_last(in[0]), dim) * log_softmax(channels_last(in[0]), dim);
    });
  }
  // exp of a logit would overflow. Forward only: the true gradient is some 1e-15, below the rounding of its terms.
  const OpInput large_logits = constant(normal({4, 9}, 1e4)), halves = compact(normal({3, 7, 5}));
  for (const auto& [name, f] : {std::pair("softmax", &softmax), {"log_softmax", &log_softmax}}) {
    const auto run = [f = f](const Inputs& in) { return f(in[0], 1); };
    row(str(name, "/large_logits"), {large_logits}, run);
    row(str(name, "/bf16"), {halves}, run);
    rows.back().tolerance = kBf16Rounding;
  }
  // Logits of -inf, as masks make them; some threads see no others. Forward only, since the differences are not finite.
  for (const Shape& shape : {Shape{200, 9}, Shape{2, 1031}}) {
    row(str("softmax/masked_", shape[1]), {constant(normal(shape)), constant(ties(shape))},
        [](const Inputs& in) { return softmax(in[0] + log(in[1] + 1.0), 1); });
  }
  return rows;
}

OpCase large(const char* name, std::vector<OpInput> inputs, KernelSlotBase& slot, double flops_per_element,
             Variable (*run)(const Inputs&)) {
  const auto n = static_cast<double>(inputs[0].shape.numel());
  for (OpInput& input : inputs) input.differentiable = false;
  return {.name = name, .inputs = std::move(inputs), .run = run, .slots = {&slot}, .large = true,
          .flops = flops_per_element * n};
}

}  // namespace

std::vector<OpCase> reduce_cases() {
  std::vector<OpCase> rows = reductions();
  for (OpCase& row : argmaxes()) rows.push_back(std::move(row));
  for (OpCase& row : softmaxes()) rows.push_back(std::move(row));
  rows.push_back(large("reduce/mean_64x256x256", {normal({1, 64, 256, 256})}, kernels::reduce, 1,
                       [](const Inputs& in) { return Variable(mean(in[0].value())); }));
  rows.push_back(large("reduce/sum_channels_64x256x256", {normal({2, 64, 256, 256})}, kernels::reduce, 1,
                       [](const Inputs& in) { return Variable(sum(in[0].value(), {0, 2, 3})); }));
  return rows;
}

}  // namespace asap::tests
