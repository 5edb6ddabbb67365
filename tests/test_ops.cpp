// What rows of op_cases.h cannot hold of ops: NaN and infinity, random numbers, and what is said of arguments that do not fit.
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "autograd/ops.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

using Floats = std::vector<float>;
constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

Floats floats(const Tensor& x) { return x.to_vector<float>(); }
Variable ones(const Shape& shape) { return Variable(Tensor::ones(shape)); }

}  // namespace

TEST_CASE("argmax takes the first of the largest, and a NaN before all") {
  ran();
  const Tensor x = Tensor::from(Floats{1, 3, 3, 0, kInf, kNan, kNan, 9}, {2, 4});
  CHECK(argmax(x, 1).to_vector<int32_t>() == std::vector<int32_t>{1, 1});
  CHECK(argmax(x, 0).to_vector<int32_t>() == std::vector<int32_t>{1, 1, 1, 1});
  CHECK(argmax(x, -1, true).shape() == Shape{2, 1});
  CHECK(argmax(Tensor::full({2, 3}, -kInf), 1).to_vector<int32_t>() == std::vector<int32_t>{0, 0});
  CHECK(argmax(Tensor::from(std::vector<uint8_t>{7, 200}, {2}), 0).item() == 1);
  CHECK(error_of([&] { argmax(Tensor::ones({2, 0}), 1); }) == "argmax: expected 1..2^31-1 elements along dimension 1, got (2,0)");
}

TEST_CASE("where looks at nothing that it does not take") {
  ran();
  const Tensor condition = Tensor::from(std::vector<uint8_t>{0, 1, 2}, {3});
  for (const auto& variant : kernels::where.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::where, variant);
    const Tensor a = Tensor::from(Floats{kNan, 1, 2}, {3}), b = Tensor::from(Floats{5, kNan, kNan}, {3});
    CHECK(floats(where(condition, a, b)) == Floats{5, 1, 2});
    CHECK(where(condition, Tensor::full({1}, 300, DType::i32), Tensor::full({}, -1, DType::i32)).to_vector<int32_t>() ==
          std::vector<int32_t>{-1, 300, 300});
    CHECK(floats(where(Tensor::from(Floats{kNan, -0.0f, 1}, {3}), Tensor::ones({1}), Tensor::zeros({1}))) == Floats{1, 0, 1});
  }
  CHECK(error_of([&] { where(condition, Tensor::ones({3}), Tensor::ones({3}, DType::f64)); }) ==
        "where: expected equal dtypes, got f32 and f64");
  CHECK(error_of([&] { where(condition, Tensor::ones({2}), Tensor::ones({1})); }) ==
        "where: shapes (3) and (2) do not broadcast");
}

// What PyTorch says of them: a NaN is read as -1, infinity as far outside.
TEST_CASE("grid_sample stands positions that are no numbers") {
  ran();
  const Tensor x = Tensor::from(Floats{1, 2, 3, 4}, {1, 1, 2, 2});
  const Tensor grid = Tensor::from(Floats{kNan, kNan, kInf, 0, -kInf, kInf, 1e30f, -1e30f}, {1, 1, 4, 2});
  for (const auto& variant : kernels::grid_sample_forward.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant guard(kernels::grid_sample_forward, variant), backward(kernels::grid_sample_backward, variant);
    CHECK(floats(grid_sample(x, grid)) == Floats{0.25f, 0, 0, 0});
    CHECK(floats(grid_sample(x, grid, {.padding = PadMode::replicate})) == Floats{1, 3, 3, 2});
    for (const SampleMode mode : {SampleMode::bilinear, SampleMode::nearest}) {
      for (const PadMode padding : {PadMode::zero, PadMode::replicate, PadMode::reflect}) {
        const GridSampleParams params{.mode = mode, .padding = padding, .align_corners = true};
        for (const float y : floats(grid_sample(x, grid, params))) CHECK((y >= 0 && y <= 4));
        const auto [dx, dgrid] = grid_sample_backward(x, grid, Tensor::ones({1, 1, 1, 4}), params, true, true);
        for (const float d : floats(dx)) CHECK(std::isfinite(d));
        for (const float d : floats(dgrid)) CHECK(std::isfinite(d));
      }
    }
    // A neighbour of weight 0 is neither read nor given a gradient.
    const Tensor infinite = Tensor::from(Floats{1, kInf, kInf, kInf}, {1, 1, 2, 2});
    const Tensor corner = Tensor::full({1, 1, 1, 2}, -1), outside = Tensor::full({1, 1, 1, 2}, 5);
    const Tensor nan = Tensor::full({1, 1, 1, 1}, kNan);
    CHECK(floats(grid_sample(infinite, corner, {.align_corners = true})) == Floats{1});
    const Floats dx = floats(grid_sample_backward(x, corner, nan, {.align_corners = true}, true, false).dx);
    CHECK((std::isnan(dx[0]) && dx[1] == 0 && dx[2] == 0 && dx[3] == 0));
    CHECK(floats(grid_sample_backward(x, outside, nan, {}, true, false).dx) == Floats{0, 0, 0, 0});
  }
  CHECK(error_of([&] { grid_sample(x, Tensor::ones({1, 4, 2})); }) ==
        "grid_sample: expected grid of 4 dimensions, got shape (1,4,2)");
  CHECK(error_of([&] { grid_sample(x, Tensor::ones({2, 1, 4, 2})); }) ==
        "grid_sample: expected a grid [1,OH,OW,2], got (2,1,4,2)");
}

TEST_CASE("where gives a gradient to what it takes, and none of a NaN") {
  ran();
  const Tensor condition = Tensor::from(std::vector<int32_t>{1, 0, 1}, {3});
  const Variable a(Tensor::ones({3}), true), b(Tensor::ones({3}), true);
  where(condition, a, b).backward(Tensor::from(Floats{2, kNan, kInf}, {3}));
  CHECK(floats(a.grad()) == Floats{2, 0, kInf});
  CHECK(floats(b.grad())[0] == 0);
  CHECK(std::isnan(floats(b.grad())[1]));
  CHECK(floats(b.grad())[2] == 0);
}

TEST_CASE("dropout drops its share, scales the rest, and draws the same again") {
  ran();
  const Variable x(Tensor::full({100, 1000}, 3), true);
  RandomStream random{.seed = 5}, again{.seed = 5};
  const Variable y = dropout(x, 0.25, random);
  int64_t dropped = 0, scaled = 0;
  for (const float value : floats(y.value())) dropped += value == 0, scaled += value == 4;
  CHECK(dropped + scaled == 100000);
  CHECK(std::abs(dropped - 25000) < 500);  // 137 is the deviation
  CHECK(random.offset == 100000);
  CHECK(floats(dropout(x, 0.25, again).value()) == floats(y.value()));
  CHECK(floats(dropout(x, 0.25, again).value()) != floats(y.value()));
  y.backward(Tensor::full({100, 1000}, 3));
  CHECK(floats(x.grad()) == floats(y.value()));
  CHECK(error_of([&] { dropout(x, 1, random); }) == "dropout: expected a share p in [0,1), got 1");
}

TEST_CASE("attention hides what the mask and the order hide") {
  ran();
  const Variable q(Tensor::from(Floats{1, -2, 3, 0.5f}, {2, 2})), v(Tensor::from(Floats{1, 2, 3, 4}, {2, 2}));
  CHECK(floats(slice(scaled_dot_product_attention(q, q, v, {}, true), 0, 0, 1).value()) == Floats{1, 2});
  const Variable second_only(Tensor::from(Floats{-kInf, 0}, {2}));
  CHECK(floats(scaled_dot_product_attention(q, q, v, second_only).value()) == Floats{3, 4, 3, 4});
  const Variable nothing(Tensor::full({2}, -kInf));
  CHECK(std::isnan(scaled_dot_product_attention(q, q, v, nothing).value().select(0, 0).select(0, 0).item()));
  CHECK(error_of([&] { scaled_dot_product_attention(q, ones({2, 3}), v); }) ==
        "scaled_dot_product_attention: expected q [...,L,D] and k [...,S,D], got (2,2) and (2,3)");
}

TEST_CASE("ops say what does not fit") {
  ran();
  const Tensor tokens = Tensor::from(std::vector<int32_t>{0, 3}, {2});
  CHECK(error_of([&] { embedding(tokens, ones({3, 2})); }) == "embedding: index 3 is outside 0..2");
  CHECK(error_of([&] { embedding(Tensor::from(std::vector<int32_t>{-1}, {1}), ones({3, 2})); }) ==
        "embedding: index -1 is outside 0..2");
  CHECK(error_of([&] { embedding(Tensor::ones({2}), ones({3, 2})); }) == "embedding: expected i32 or u8 indices, got f32");
  CHECK(error_of([&] { embedding(tokens, ones({3})); }) == "embedding: expected w [V,D], got (3)");
  CHECK(error_of([&] { matmul(ones({2, 3, 4}), ones({3, 4, 5})); }) == "matmul: shapes (2) and (3) do not broadcast");
  CHECK(error_of([&] { matmul(ones({4}), ones({4, 5})); }) == "matmul: expected matrices or batches of them, got (4) and (4,5)");
  CHECK(error_of([&] { linear(ones({2, 5, 4}), ones({3, 7}), {}); }) == "matmul: a (10,4) has 4 columns, but b (7,3) has 7 rows");
  CHECK(error_of([&] { linear(ones({}), ones({3, 7}), {}); }) == "linear: expected x [...,in], got shape ()");
  CHECK(error_of([&] { conv1d(ones({2, 3}), ones({3, 3, 1}), {}); }) ==
        "conv1d: expected x [N,C,L] and w [O,C/groups,K], got (2,3) and (3,3,1)");
  CHECK(error_of([&] { conv_transpose2d(ones({1, 2, 3, 3}), ones({3, 2, 2, 2}), {}); }) ==
        "conv_transpose2d: x has 2 channels, but w (3,2,2,2) with groups=1 needs 3, which the groups must divide");
  const ConvTranspose2dParams wide{.stride = 2, .output_padding = {0, 2}};
  CHECK(error_of([&] { conv_transpose2d(ones({1, 2, 3, 3}), ones({2, 2, 2, 2}), {}, wide); }) ==
        "conv_transpose2d: expected an output padding from 0 to less than the stride, got (0,2) with stride (2,2)");
  CHECK(error_of([&] { conv_transpose2d(ones({1, 2, 1, 3}), ones({2, 2, 2, 2}), {}, {.padding = 1}); }) ==
        "conv_transpose2d: nothing is left of 2 rows or columns without 2 of padding");
  CHECK(error_of([&] { conv_transpose2d(ones({1, 2, 3, 3}), ones({2, 4, 2, 2}), ones({2})); }) ==
        "conv_transpose2d: expected bias of shape (4), got (2)");
  CHECK(error_of([&] { layer_norm(ones({2, 3}), {2}, {}, {}); }) == "layer_norm: expected x [...] that ends in (2), got (2,3)");
  CHECK(error_of([&] { layer_norm(ones({2, 3}), {3}, ones({2}), {}); }) ==
        "layer_norm: expected gamma and beta of shape (3), got (2)");
  CHECK(error_of([&] { group_norm(ones({2, 6, 3}), 4, {}, {}); }) == "group_norm: 4 groups do not divide 6 channels");
  CHECK(error_of([&] { adaptive_avg_pool2d(ones({2, 6, 0, 3}), 1); }) ==
        "adaptive_avg_pool2d: expected pictures with pixels and a positive size, got shape (2,6,0,3) and (1,1)");
  CHECK(error_of([&] { stack({ones({2}), ones({3})}, 0); }) ==
        "cat: expected shapes that agree except along dimension 0, got (1,2) and (1,3)");
  CHECK(error_of([&] { cross_entropy(ones({2, 4}), tokens, -100, 1.5); }) ==
        "cross_entropy: expected a label smoothing in [0,1], got 1.5");
}
