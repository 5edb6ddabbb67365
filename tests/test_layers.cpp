// Layers against PyTorch's, from golden/ops.safetensors (made by golden/make_ops.py): a state under PyTorch's names, values,
// gradients and running statistics; how they start; what they say of arguments that do not fit.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>

#include "nn/attention.h"
#include "nn/checkpoint_file.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "tests/op_cases.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

using Inputs = std::vector<Variable>;
using Names = std::vector<std::string>;

const nn::StateDict& golden() {
  static const nn::StateDict all = nn::read_state_dict(ASAP_GOLDEN_DIR "/ops.safetensors");
  return all;
}
Tensor widened(const Tensor& x) { return x.dtype() == DType::f32 ? x.to(DType::f64) : x; }

// What the file holds under `prefix`, by the names behind it.
nn::StateDict part(const std::string& prefix) {
  nn::StateDict found;
  for (const auto& [name, value] : golden()) {
    if (name.starts_with(prefix)) found.set(name.substr(prefix.size()), value);
  }
  return found;
}

// Runs f on the case's inputs in f64 with PyTorch's state; results were computed in f64 and stored in f32: half an ulp, 6e-8.
void check_layer(const std::string& name, nn::Module& layer, const std::function<Variable(const Inputs&)>& f) {
  constexpr double kTolerance = 1e-7;
  INFO(name);
  const nn::StateDict state = part(name + "/state/");
  layer.load_state_dict(state);  // strict: the same names and shapes
  Names names, expected_names;
  for (const auto& [key, value] : layer.state_dict()) names.push_back(key);
  for (const auto& [key, value] : state) expected_names.push_back(key);
  CHECK(names == expected_names);
  layer.to(DType::f64);
  Inputs inputs;
  for (int i = 0; const Tensor* input = golden().find(str(name, "/in", i)); ++i) {
    inputs.emplace_back(widened(*input), golden().find(str(name, "/grad", i)) != nullptr);
  }
  REQUIRE(!inputs.empty());
  const Variable y = f(inputs);
  CHECK(relative_difference(y.value(), widened(*golden().find(name + "/out"))) < kTolerance);
  y.backward(widened(*golden().find(name + "/cotangent")));
  for (size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input ", i);
    if (const Tensor* expected = golden().find(str(name, "/grad", i))) {
      CHECK(relative_difference(inputs[i].grad(), widened(*expected)) < kTolerance);
    }
  }
  const auto check_state = [&](const std::string& key, const Tensor& value) {
    INFO(key);
    const Tensor* expected = golden().find(name + key);
    REQUIRE(expected);
    CHECK(relative_difference(value, widened(*expected)) < kTolerance);
  };
  for (const auto& [key, parameter] : layer.named_parameters()) check_state("/grad/" + key, parameter.grad());
  for (const auto& [key, buffer] : layer.named_buffers()) check_state("/after/" + key, buffer.value());
}
void check_layer(const std::string& name, nn::Layer& layer) {
  check_layer(name, layer, [&](const Inputs& in) { return layer(in[0]); });
}

double largest(const Variable& x) { return max(unary(UnaryOp::abs, x.value())).item(); }
double deviation(const Variable& x) { return std::sqrt(mean(unary(UnaryOp::square, x.value())).item()); }

Variable ones(const Shape& shape) { return Variable(Tensor::ones(shape)); }

}  // namespace

TEST_CASE("convolutions match PyTorch") {
  ran();
  nn::ConvTranspose2d transposed({.in = 4, .out = 6, .kernel = {3, 2}, .stride = 2, .padding = 1, .output_padding = 1,
                                  .dilation = 2, .groups = 2});
  check_layer("ConvTranspose2d", transposed);
  nn::Conv1d strided({.in = 4, .out = 6, .kernel = 5, .stride = 2, .padding = 3, .dilation = 2, .groups = 2});
  check_layer("Conv1d", strided);
  nn::Conv1d reflected({.in = 3, .out = 4, .kernel = 3, .padding = 1, .bias = false, .pad_mode = PadMode::reflect});
  check_layer("Conv1d_reflect", reflected);
}

TEST_CASE("norms match PyTorch") {
  ran();
  nn::BatchNorm1d matrix(5), sequence(3, 0.3), evaluated(3);
  evaluated.eval();
  check_layer("BatchNorm1d", matrix);
  check_layer("BatchNorm1d_sequence", sequence);
  check_layer("BatchNorm1d_eval", evaluated);
  nn::LayerNorm layer_norm({3, 5}, true, 1e-3);
  check_layer("LayerNorm", layer_norm);
  nn::GroupNorm group_norm(3, 6, true, 1e-3);
  check_layer("GroupNorm", group_norm);
}

TEST_CASE("embedding and attention match PyTorch") {
  ran();
  nn::Embedding embedding(7, 4);
  check_layer("Embedding", embedding);
  nn::MultiHeadAttention self({.size = 8, .heads = 2}), cross({.size = 8, .heads = 2});
  check_layer("MultiheadAttention", self);
  check_layer("MultiheadAttention_cross", cross, [&](const Inputs& in) { return cross.forward(in[0], in[1], in[2], in[3]); });
  nn::MultiHeadAttention causal({.size = 8, .heads = 2, .bias = false, .causal = true});
  check_layer("MultiheadAttention_causal", causal);
}

// Distributions are PyTorch's; the numbers are not.
TEST_CASE("layers start as PyTorch's do") {
  ran();
  nn::manual_seed(3);
  const auto is_uniform = [](const Variable& w, double bound) {
    CHECK(largest(w) <= bound);
    CHECK(largest(w) > 0.95 * bound);
    CHECK(deviation(w) == doctest::Approx(bound / std::sqrt(3)).epsilon(0.05));
  };
  const nn::ConvTranspose2d transposed({.in = 8, .out = 32, .kernel = {3, 4}, .groups = 2});
  CHECK(transposed.weight.shape() == Shape{8, 16, 3, 4});
  is_uniform(transposed.weight, 1 / std::sqrt(16.0 * 12));
  CHECK(largest(transposed.bias) <= 1 / std::sqrt(16.0 * 12));
  is_uniform(nn::Conv1d({.in = 32, .out = 64, .kernel = 3, .groups = 4}).weight, 1 / std::sqrt(24.0));
  CHECK(deviation(nn::Embedding(100, 50).weight) == doctest::Approx(1).epsilon(0.05));
  nn::MultiHeadAttention attention({.size = 24, .heads = 3});
  const nn::StateDict state = attention.state_dict();
  is_uniform(*state.find("in_proj_weight"), std::sqrt(6.0 / 96));
  is_uniform(*state.find("out_proj.weight"), 1 / std::sqrt(24.0));
  CHECK(largest(*state.find("in_proj_bias")) == 0);
  CHECK(largest(*state.find("out_proj.bias")) == 0);
  CHECK(nn::MultiHeadAttention({.size = 8, .bias = false}).parameters().size() == 2);
  CHECK(nn::LayerNorm({4}, false).parameters().empty());
  CHECK(nn::GroupNorm(2, 4, false).parameters().empty());
  const nn::init::Blank blank;
  CHECK(largest(nn::Embedding(9, 4).weight) == 0);
}

TEST_CASE("dropout works in training alone") {
  ran();
  nn::Dropout layer(0.5);
  const Variable x = ones({1000});
  nn::manual_seed(1);
  const std::vector<float> first = layer(x).value().to_vector<float>(), second = layer(x).value().to_vector<float>();
  CHECK(first != second);
  nn::manual_seed(1);
  CHECK(layer(x).value().to_vector<float>() == first);
  layer.eval();
  CHECK(layer(x).value().shares_storage(x.value()));
  CHECK(nn::Dropout(0)(x).value().shares_storage(x.value()));
}

TEST_CASE("layers without state call their op") {
  ran();
  const Variable x(Tensor::from(std::vector<float>{-1, 0, 2, 5}, {1, 1, 2, 2}));
  const auto equal = [](const Variable& a, const Variable& b) {
    return a.value().to_vector<float>() == b.value().to_vector<float>();
  };
  CHECK(equal(nn::GELU()(x), gelu(x)));
  CHECK(equal(nn::GELU(true)(x), gelu(x, true)));
  CHECK(!equal(gelu(x), gelu(x, true)));
  CHECK(equal(nn::SiLU()(x), silu(x)));
  CHECK(nn::AdaptiveAvgPool2d(1)(x).item() == 1.5);
}

TEST_CASE("layers say what does not fit") {
  ran();
  CHECK(error_of([] { nn::BatchNorm1d(3)(ones({2, 3, 4, 4})); }) == "BatchNorm1d: expected [N,3] or [N,3,L], got (2,3,4,4)");
  CHECK(error_of([] { nn::BatchNorm1d(3)(ones({1, 3})); }) ==
        "BatchNorm1d: training needs more than one value per channel, got (1,3)");
  CHECK(error_of([] { nn::LayerNorm({4})(ones({2, 3})); }) == "layer_norm: expected x [...] that ends in (4), got (2,3)");
  CHECK(error_of([] { nn::GroupNorm(2, 4)(ones({2, 6, 3})); }) == "GroupNorm: expected [N,4,...], got (2,6,3)");
  CHECK(error_of([] { nn::GroupNorm(3, 4); }) == "GroupNorm: 3 groups do not divide 4 channels");
  CHECK(error_of([] { nn::Conv1d({.in = 4, .out = 6, .groups = 4}); }) == "Conv1d: in=4, out=6, groups=4 do not divide");
  CHECK(error_of([] { nn::ConvTranspose2d({.in = 4, .out = 6, .kernel = {0, 2}}); }) ==
        "ConvTranspose2d: expected a kernel with pixels, got 0 x 2");
  CHECK(error_of([] { nn::Embedding(0, 4); }) == "Embedding: expected rows with elements, got 0 of 4");
  CHECK(error_of([] { nn::Embedding(5, 4)(Tensor::full({2}, 5, DType::i32)); }) == "embedding: index 5 is outside 0..4");
  CHECK(error_of([] { nn::Dropout layer(1.5); layer(ones({2})); }) == "dropout: expected a share p in [0,1), got 1.5");
  CHECK(error_of([] { nn::MultiHeadAttention({.size = 8, .heads = 3}); }) ==
        "MultiHeadAttention: 3 heads do not divide 8 elements");
  CHECK(error_of([] { nn::MultiHeadAttention({.size = 8})(ones({2, 5, 6})); }) ==
        "MultiHeadAttention: expected [N,L,8] and as many sequences of keys and values as of queries, got (2,5,6) beside (2,5,6)");
}
