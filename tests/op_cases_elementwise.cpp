// Rows of op_cases.h: unary and binary ops, where, broadcasting. Sizes are odd so that vector loops have a remainder.
#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;
const std::vector<KernelSlotBase*> kUnary{&kernels::unary, &kernels::unary_backward};
const std::vector<KernelSlotBase*> kBinary{&kernels::binary};

// One kernel of its own for an op whose autograd form takes a shorter way (affine) or has none (sign).
Variable direct_unary(UnaryOp op, const Variable& x, const UnaryParams& params) {
  return make_result(name(op), unary(op, x.value(), params), {x},
                     [op, params, x = x.value()](const Tensor& dy, std::span<const bool>) -> std::vector<Tensor> {
                       return {unary_backward(op, x, dy, params)};
                     });
}

std::vector<OpCase> unary_cases() {
  const Shape shape{3, 5, 7};
  struct Row {
    const char* name;
    OpInput input;
    Variable (*run)(const Variable&);
  };
  const std::vector<Row> ops{
      {"relu", off_zero(shape), [](const Variable& x) { return relu(x); }},
      {"leaky_relu", off_zero(shape), [](const Variable& x) { return leaky_relu(x, 0.2); }},
      {"tanh", normal(shape, 2), [](const Variable& x) { return tanh(x); }},
      {"tanh_saturated", normal(shape, 50), [](const Variable& x) { return tanh(x); }},
      {"sigmoid", normal(shape, 2), [](const Variable& x) { return sigmoid(x); }},
      {"sigmoid_saturated", normal(shape, 50), [](const Variable& x) { return sigmoid(x); }},
      {"softplus", normal(shape, 2), [](const Variable& x) { return softplus(x); }},
      {"softplus_saturated", normal(shape, 50), [](const Variable& x) { return softplus(x); }},
      {"exp", normal(shape), [](const Variable& x) { return exp(x); }},
      {"log", positive(shape), [](const Variable& x) { return log(x); }},
      {"sqrt", positive(shape), [](const Variable& x) { return sqrt(x); }},
      {"abs", off_zero(shape), [](const Variable& x) { return abs(x); }},
      {"square", normal(shape), [](const Variable& x) { return square(x); }},
      {"sin", normal(shape, 3), [](const Variable& x) { return sin(x); }},
      {"cos", normal(shape, 3), [](const Variable& x) { return cos(x); }},
      {"erf", normal(shape), [](const Variable& x) { return erf(x); }},
      {"erf_saturated", normal(shape, 50), [](const Variable& x) { return erf(x); }},
      {"affine", normal(shape), [](const Variable& x) { return affine(x, -1.5, 0.25); }},
      {"affine_kernel", normal(shape), [](const Variable& x) { return direct_unary(UnaryOp::affine, x, {-1.5, 0.25}); }},
      {"sign", off_zero(shape), [](const Variable& x) { return direct_unary(UnaryOp::sign, x, {}); }},
      {"pow_3", normal(shape), [](const Variable& x) { return pow(x, 3); }},
      {"pow_half", positive(shape), [](const Variable& x) { return pow(x, -0.5); }},
      {"clamp", off_zero(shape), [](const Variable& x) { return clamp(x, -0.65, 0.8); }},
      {"relu_long", off_zero({4099}), [](const Variable& x) { return relu(x); }},
      {"tanh_long", normal({4099}), [](const Variable& x) { return tanh(x); }},
      {"sigmoid_long", normal({4099}), [](const Variable& x) { return sigmoid(x); }},
      {"relu_parallel", off_zero({70001}), [](const Variable& x) { return relu(x); }},
      {"tanh_parallel", normal({70001}), [](const Variable& x) { return tanh(x); }},
      {"permuted_parallel", normal({41, 43, 47}), [](const Variable& x) { return square(permute(x, {2, 0, 1})); }},
      {"one_element", normal({1}), [](const Variable& x) { return exp(x); }},
      {"permuted", off_zero({3, 4, 5}), [](const Variable& x) { return leaky_relu(permute(x, {2, 0, 1})); }},
      {"unaligned", normal({4099}), [](const Variable& x) { return tanh(slice(x, 0, 1, 4099)); }},
      {"sliced", normal({5, 9}), [](const Variable& x) { return tanh(slice(x, 1, 1, 8, 2)); }},
      {"expanded", normal({1, 5}), [](const Variable& x) { return sin(expand(x, {4, 3, 5})); }},
      {"channels_last", normal({2, 8, 3, 5}), [](const Variable& x) { return tanh(square(channels_last(x))); }},
      {"channels_with_gaps", normal({2, 7, 3, 5}), [](const Variable& x) { return tanh(slice(channels_last(x), 1, 1, 6)); }},
      {"channels_last_parallel", normal({2, 35, 37, 41}), [](const Variable& x) { return sin(channels_last(x)); }},
  };
  std::vector<OpCase> rows;
  for (const Row& op : ops) {
    const bool no_backward_kernel = std::string(op.name) == "affine";
    rows.push_back({.name = str("unary/", op.name), .inputs = {op.input},
                    .run = [run = op.run](const Inputs& in) { return run(in[0]); },
                    .slots = no_backward_kernel ? std::vector<KernelSlotBase*>{&kernels::unary} : kUnary});
  }
  rows.push_back({.name = "unary/in_place", .inputs = {constant(normal({3, 37}))},
                  .run = [](const Inputs& in) {
                    Tensor x = in[0].value().clone();
                    kernels::unary.run(x.device(), UnaryOp::tanh, x, {}, x);
                    return Variable(x);
                  },
                  .slots = {&kernels::unary}});
  rows.push_back({.name = "unary/bf16", .inputs = {compact(normal({3, 4099}))},
                  .run = [](const Inputs& in) { return Variable(unary(UnaryOp::tanh, in[0].value())); },
                  .slots = {&kernels::unary}, .tolerance = kBf16Rounding});
  rows.push_back({.name = "unary/bf16_backward", .inputs = {compact(unit({2, 8, 3, 5})), compact(normal({2, 8, 3, 5}))},
                  .run = [](const Inputs& in) {
                    const Tensor y = channels_last(in[0]).value();
                    return Variable(unary_backward(UnaryOp::tanh, y, in[1].value()));
                  },
                  .slots = {&kernels::unary_backward}, .tolerance = kBf16Rounding});
  return rows;
}

std::vector<OpCase> binary_cases() {
  std::vector<OpCase> rows;
  auto row = [&rows](const char* name, const OpInput& a, const OpInput& b, auto run) {
    rows.push_back({.name = str("binary/", name), .inputs = {a, b},
                    .run = [run](const Inputs& in) { return run(in[0], in[1]); }, .slots = kBinary});
  };
  using V = const Variable&;
  row("add", normal({3, 5, 7}), normal({3, 5, 7}), [](V a, V b) { return a + b; });
  row("sub", normal({3, 5, 7}), normal({3, 5, 7}), [](V a, V b) { return a - b; });
  row("mul", normal({3, 5, 7}), normal({3, 5, 7}), [](V a, V b) { return a * b; });
  row("div", normal({3, 5, 7}), positive({3, 5, 7}), [](V a, V b) { return a / b; });
  row("maximum", normal({3, 5, 7}), normal({3, 5, 7}), [](V a, V b) { return maximum(a, b); });
  row("minimum", normal({3, 5, 7}), normal({3, 5, 7}), [](V a, V b) { return minimum(a, b); });
  row("mul_long", normal({4099}), normal({4099}), [](V a, V b) { return a * b; });
  row("add_parallel", normal({70001}), normal({70001}), [](V a, V b) { return a + b; });
  row("channel_parallel", normal({2, 5, 83, 89}), normal({5, 1, 1}), [](V a, V b) { return a * b; });
  row("permuted_parallel", normal({41, 43, 47}), normal({47, 1, 43}), [](V a, V b) { return permute(a, {2, 0, 1}) - b; });
  row("same_operand", normal({3, 5}), constant(normal({1})), [](V a, V) { return a * a + a; });
  row("row", normal({3, 4, 5}), normal({5}), [](V a, V b) { return a * b; });
  row("column", normal({3, 4, 5}), normal({4, 1}), [](V a, V b) { return a / (b * b + 1.0); });
  row("unaligned", normal({1031}), normal({1030}), [](V a, V b) { return slice(a, 0, 1, 1031) * b; });
  row("row_of_8", normal({3, 4, 8}), normal({8}), [](V a, V b) { return a * b; });
  row("column_of_8", normal({3, 4, 8}), normal({4, 1}), [](V a, V b) { return a * b; });
  row("halves_of_8", normal({3, 4, 16}), normal({4, 8}), [](V a, V b) { return slice(a, 2, 8, 16) * b; });
  row("outer", normal({3, 1, 5}), normal({4, 1}), [](V a, V b) { return a * b; });
  row("scalar", normal({3, 4, 5}), normal({1}), [](V a, V b) { return a - b; });
  row("scalar_left", normal({1}), normal({3, 4, 5}), [](V a, V b) { return a - b; });
  row("channel", normal({2, 3, 4, 5}), normal({1, 3, 1, 1}), [](V a, V b) { return a * b; });
  row("picture", normal({2, 3, 4, 5}), normal({2, 1, 4, 5}), [](V a, V b) { return a + b; });
  row("permuted", normal({3, 4, 5}), normal({5, 3, 4}), [](V a, V b) { return permute(a, {2, 0, 1}) * b; });
  row("permuted_broadcast", normal({4, 3}), normal({2, 1, 4}), [](V a, V b) { return transpose(a, 0, 1) * b; });
  row("channels_last", normal({2, 8, 3, 5}), normal({2, 8, 3, 5}), [](V a, V b) { return channels_last(a) * b; });
  row("channels_last_picture", normal({8, 1, 1}), normal({2, 8, 3, 5}), [](V a, V b) { return a * channels_last(b); });
  row("sizes_of_1", normal({1, 1, 1}), normal({1, 3, 1}), [](V a, V b) { return a / (b * b + 1.0); });
  for (const BinaryOp op : {BinaryOp::maximum, BinaryOp::minimum, BinaryOp::equal, BinaryOp::less, BinaryOp::greater}) {
    row(str(name(op), "_with_ties").c_str(), constant(ties({5, 13})), constant(ties({13})),
        [op](V a, V b) { return Variable(binary(op, a.value(), b.value())); });
  }
  row("bf16", compact(normal({2, 8, 3, 5})), compact(normal({8, 1, 1})), [](V a, V b) {
    return Variable(mul(channels_last(a).value(), b.value()));
  });
  rows.back().tolerance = kBf16Rounding;
  row("add_into_channels_last", constant(normal({2, 7, 3, 5})), constant(normal({2, 7, 3, 5})), [](V a, V b) {
    Tensor y = a.value().to(Layout::channels_last);
    add_into(b.value(), y);
    return Variable(y);
  });
  for (const bool permuted : {false, true}) {
    row(permuted ? "add_into_permuted" : "add_into", constant(normal({6, 7})), constant(normal({6, 7})),
        [permuted](V a, V b) {
          Tensor y = a.value().clone();
          Tensor view = permuted ? y.transpose(0, 1) : y;
          add_into(permuted ? b.value().transpose(0, 1) : b.value(), view);
          return Variable(y);
        });
  }
  return rows;
}

std::vector<OpCase> where_cases() {
  std::vector<OpCase> rows;
  const auto row = [&rows](const char* name, OpInput condition, const Shape& a, const Shape& b) {
    rows.push_back({.name = str("where/", name), .inputs = {constant(std::move(condition)), normal(a), normal(b)},
                    .run = [](const Inputs& in) { return where(in[0].value(), in[1], in[2]); }, .slots = {&kernels::where}});
  };
  row("i32", indices({3, 5, 7}, 2), {3, 5, 7}, {3, 5, 7});
  row("u8", compact(indices({3, 5, 7}, 3)), {3, 5, 7}, {3, 5, 7});
  row("float", ties({3, 5, 7}), {3, 5, 7}, {3, 5, 7});
  row("bf16", compact(ties({3, 5, 7})), {3, 5, 7}, {3, 5, 7});
  row("column", indices({5, 1}, 2), {3, 5, 7}, {7});
  row("scalar", indices({3, 5, 7}, 2), {1}, {3, 5, 7});
  row("scalar_behind", compact(indices({3, 5, 7}, 2)), {3, 5, 7}, {1});
  row("all_broadcast", indices({5, 1}, 2), {3, 1, 7}, {1});
  row("scalars", indices({3, 5}, 2), {1}, {});
  row("picture", indices({2, 8, 3, 5}, 2), {2, 8, 3, 5}, {8, 1, 1});
  row("long", indices({4099}, 2), {4099}, {4099});
  row("parallel", compact(indices({3, 151, 157}, 2)), {3, 151, 157}, {3, 151, 157});
  row("mask_parallel", compact(indices({151, 157}, 2)), {1}, {3, 151, 157});
  rows.push_back({.name = "where/permuted", .inputs = {indices({3, 4, 5}, 2), normal({5, 3, 4}), normal({4, 5, 3})},
                  .run = [](const Inputs& in) {
                    return where(in[0].value(), permute(in[1], {1, 2, 0}), permute(in[2], {2, 0, 1}));
                  },
                  .slots = {&kernels::where}});
  return rows;
}

OpCase large(const char* name, std::vector<OpInput> inputs, KernelSlotBase& slot, double flops_per_element,
             Variable (*run)(const Inputs&), double passes = 0) {
  const auto n = static_cast<double>(inputs[0].shape.numel());
  for (OpInput& input : inputs) input.differentiable = false;
  return {.name = name, .inputs = std::move(inputs), .run = run, .slots = {&slot}, .large = true,
          .flops = flops_per_element * n, .bytes = passes * 4 * n};
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> rows = unary_cases();
  for (OpCase& row : binary_cases()) rows.push_back(std::move(row));
  for (OpCase& row : where_cases()) rows.push_back(std::move(row));

  const Shape feature{1, 64, 256, 256};
  rows.push_back(large("unary/relu_64x256x256", {normal(feature)}, kernels::unary, 1,
                       [](const Inputs& in) { return Variable(unary(UnaryOp::relu, in[0].value())); }));
  rows.push_back(large("unary/tanh_64x256x256", {normal(feature)}, kernels::unary, 1,
                       [](const Inputs& in) { return Variable(unary(UnaryOp::tanh, in[0].value())); }));
  rows.push_back(large("unary/relu_backward_64x256x256", {normal(feature), normal(feature)}, kernels::unary_backward, 1,
                       [](const Inputs& in) {
                         return Variable(unary_backward(UnaryOp::relu, in[0].value(), in[1].value()));
                       }));
  rows.push_back(large("binary/add_64x256x256", {normal(feature), normal(feature)}, kernels::binary, 1,
                       [](const Inputs& in) { return Variable(add(in[0].value(), in[1].value())); }));
  rows.push_back(large("binary/mul_channel_64x256x256", {normal(feature), normal({1, 64, 1, 1})}, kernels::binary, 1,
                       [](const Inputs& in) { return Variable(mul(in[0].value(), in[1].value())); }));
  rows.push_back(large("where/64x256x256", {normal(feature), normal(feature), compact(indices(feature, 2))}, kernels::where, 0,
                       [](const Inputs& in) { return Variable(where(in[2].value(), in[0].value(), in[1].value())); }));
  rows.push_back(large("where/scalar_64x256x256", {normal(feature), normal({1}), compact(indices(feature, 2))}, kernels::where, 0,
                       [](const Inputs& in) { return Variable(where(in[2].value(), in[1].value(), in[0].value())); }));
  return rows;
}

}  // namespace asap::tests
