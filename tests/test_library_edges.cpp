// The library at its edges: sizes of 0 and sizes beyond 63 bits, indices from elsewhere, writes that would meet themselves, and what
// makes a first hour with it easier. The rows empty/ of the op table run the same on every device. Right values: PyTorch's.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <thread>

#include "asapnet/model.h"
#include "nn/init.h"
#include "nn/layers.h"
#include "nn/spectral_norm.h"
#include "tensor/threads.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"

using namespace asap;
using asap::tests::error_of;

namespace {

constexpr int64_t kHuge = int64_t{1} << 40, kMost = std::numeric_limits<int64_t>::max();
using Floats = std::vector<float>;
using Doubles = std::vector<double>;
Floats floats(const Tensor& x) { return x.to_vector<float>(); }
Tensor row(const Floats& values) { return Tensor::from(values, {static_cast<int64_t>(values.size())}); }

template <class F>
bool says(const F& f, const std::string& part) {
  const std::string error = error_of(f);
  CAPTURE(error);
  return error.find(part) != std::string::npos;
}

bool near(const Tensor& x, const Doubles& expected) {
  const Doubles values = x.to_vector<double>();
  bool equal = values.size() == expected.size();
  for (size_t i = 0; equal && i < values.size(); ++i) equal = std::abs(values[i] - expected[i]) < 1e-14;
  return equal;
}

// Read by the first use of a slot, before the variants that it names are there. A child has its own.
const char* const child = std::getenv("ASAP_EDGES_CHILD");
const bool environment_is_set = child || setenv("ASAP_KERNEL", "adam_begin=mine,label_planes=missing", 1) == 0;

// This program again with other variables, for one test case. Exit status.
int run_child(const std::string& variables, const std::string& test_case) {
  const std::string command = "env " + variables + " ASAP_EDGES_CHILD=1 /proc/" + std::to_string(getpid()) +
                              "/exe --test-case='" + test_case + "' > /dev/null 2>&1";
  return std::system(command.c_str());
}

}  // namespace

TEST_CASE("case 28-numel-overflow: more elements than 63 bits count are refused") {
  tests::ran();
  const std::string sentence = "the sizes multiply to more than 63 bits hold";
  CHECK(error_of([] { Tensor::zeros({kHuge, kHuge}); }) == "Shape: (1099511627776,1099511627776): " + sentence);
  CHECK(says([] { Tensor::empty({kHuge, 0, kHuge}); }, sentence));  // whose strides would overflow
  CHECK(says([] { Tensor::empty({2, kMost}); }, sentence));
  CHECK(Tensor::empty({0, kMost}).numel() == 0);
  CHECK(says([] { Tensor::empty({int64_t{1} << 62}); }, "has more bytes than 63 bits count"));
  CHECK(says([] { Tensor::empty({int64_t{1} << 60}, DType::f64); }, "has more bytes than 63 bits count"));
  CHECK(says([] { Tensor::from(Floats{}, {kHuge, kHuge}); }, sentence));
  CHECK(says([] { random_normal({kHuge, kHuge}, {}); }, sentence));

  const Tensor one = Tensor::ones({1});
  CHECK(says([&] { one.expand({kHuge, kHuge}); }, sentence));
  CHECK(says([&] { one.reshape({kHuge, kHuge}); }, sentence));
  CHECK(says([&] { one.reshape({kHuge, kHuge, -1}); }, sentence));
  const Tensor wide = one.expand({int64_t{1} << 62});
  CHECK(says(
      [&] {
        cat({wide, wide}, 0);
      },
      "cat: a size of 4611686018427387904 + 4611686018427387904 is more than 63 bits hold"));
  CHECK(says([&] { add(one.expand({kHuge, 1}), one.expand({1, kHuge})); }, sentence));
  CHECK(says([] { matmul(Tensor::empty({kHuge, 0}), Tensor::empty({0, kHuge})); }, sentence));
  CHECK(says([] { one_hot(Tensor::empty({0, kHuge, 1}, DType::i32), kHuge); }, sentence));
}

TEST_CASE("sizes that padding, dilation and factors make are counted in 63 bits too") {
  tests::ran();
  const Shape x{1, 1, 4, 4}, w{1, 1, 3, 3};
  const std::string sentence = "is more than 63 bits hold";
  CHECK(says([&] { conv2d_shape(x, w, {.padding = kMost}); }, sentence));
  CHECK(says([&] { conv2d_shape(x, w, {.dilation = kMost}); }, sentence));
  CHECK(says([&] { conv2d_shape(x, w, {.groups = kMost}); }, "needs 9223372036854775807"));
  CHECK(says([&] { conv2d_shape({1, 4, 4, 4}, {2, 2, 3, 3}, {.groups = kMost}); }, sentence));
  CHECK(says([&] { pad2d_shape(x, {.left = kMost}); }, sentence));
  CHECK(says([&] { pad2d_shape(x, {.left = kMost, .right = kMost}); }, sentence));
  CHECK(says([&] { pool2d_shape(x, {.kernel = kMost, .padding = kMost / 2}); }, sentence));
  CHECK(says([&] { tile_mlp_parameters(3, {.width = kHuge}); }, sentence));
  CHECK(says([&] { tile_mlp_parameters(3, {.depth = kMost}); }, sentence));  // and at once
  CHECK(tile_mlp_parameters(3, {.tile = 4, .width = 8, .depth = 1, .out = 2}) == (3 + 8 + 1) * 2);
  CHECK(tile_mlp_parameters(3, {.tile = 4, .width = 8, .depth = 4, .out = 2}) == 12 * 8 + 2 * 9 * 8 + 9 * 2);
  CHECK(says([&] { nn::Upsample{kMost}(Tensor::ones(x)); }, sentence));
  CHECK(says([&] { split(Variable(Tensor::ones({3})), {kMost, kMost}, 0); }, sentence));
  CHECK(says([&] { split(Variable(Tensor::ones({3})), {-1, 4}, 0); }, "split: a size is negative: -1"));
  CHECK(floats(Tensor::ones({3}).slice(0, 1, 3, kMost)) == Floats{1});
  CHECK(Tensor::ones({3}).slice(0, 3, 3, kMost).numel() == 0);
}

TEST_CASE("a stride or dilation that nothing has use for may be any") {
  tests::ran();
  const auto same = [](const std::function<Variable(const Variable&, int64_t)>& f, const Shape& shape, int64_t enough) {
    const Variable a(random_normal(shape, {.seed = 1}, DType::f64), true), b(a.value(), true);
    const Variable x = f(a, enough), y = f(b, kMost);
    sum(x * x).backward();
    sum(y * y).backward();
    return x.shape() == y.shape() && x.value().to_vector<double>() == y.value().to_vector<double>() &&
           a.grad().to_vector<double>() == b.grad().to_vector<double>();
  };
  const Variable w(random_normal({3, 2, 2, 3}, {.seed = 2}, DType::f64)),
      pixel(random_normal({3, 2, 1, 1}, {.seed = 2}, DType::f64));
  const Shape shape{2, 2, 5, 7};
  CHECK(same([&](const Variable& x, int64_t n) { return conv2d(x, w, {}, {.stride = n, .padding = 1}); }, shape, 9));
  CHECK(same([&](const Variable& x, int64_t n) { return conv2d(x, pixel, {}, {.dilation = n}); }, shape, 1));
  CHECK(same([](const Variable& x, int64_t n) { return avg_pool2d(x, {.kernel = 3, .stride = n, .padding = 1}); },
             shape, 9));
  CHECK(same([](const Variable& x, int64_t n) { return max_pool2d(x, {.kernel = 3, .stride = {1, n}}); }, shape, 9));
  CHECK(says([] { tile_mlp_parameters(kMost, {.tile = 16}); },
             "tile_mlp: a size of 9223372036854775807 + 16 is more than"));
}

TEST_CASE("case 07-flatten-empty-batch: layers pass an empty batch through") {
  tests::ran();
  CHECK(nn::Flatten()(Tensor::zeros({0, 3, 4, 4})).shape() == Shape{0, 48});
  CHECK(nn::Flatten()(Tensor::zeros({2, 0, 4})).shape() == Shape{2, 0});
  CHECK(nn::Flatten()(Tensor::zeros({2})).shape() == Shape{2, 1});
  CHECK(error_of([] { nn::Flatten()(Tensor::zeros({})); }) == "Flatten: expected [N,...], got ()");

  nn::Sequential net;
  net.add<nn::Conv2d>(nn::Conv2dOptions{.in = 3, .out = 4, .kernel = 3, .padding = 1, .activation_slope = 0});
  net.add<nn::InstanceNorm2d>(4, true);
  net.add<nn::SpectralConv2d>(nn::Conv2dOptions{.in = 4, .out = 4, .kernel = 3, .padding = 1});
  net.add<nn::LeakyReLU>();
  net.add<nn::Upsample>(2, ResizeMode::bilinear);
  net.add<nn::MaxPool2d>(Pool2dParams{});
  net.add<nn::Pad2d>(Pad2dParams{.mode = PadMode::reflect, .left = 1, .right = 1, .top = 1, .bottom = 1});
  net.add<nn::AvgPool2d>(Pool2dParams{.kernel = 3, .stride = 2, .padding = 1});
  net.add<nn::Tanh>();
  net.add<nn::Sigmoid>();
  net.add<nn::Flatten>();
  net.add<nn::Linear>(4 * 25, 7);
  const Variable x(Tensor::zeros({0, 3, 8, 8}), true);
  const Variable y = net(x);
  CHECK(y.shape() == Shape{0, 7});
  sum(y).backward();
  CHECK(x.grad().shape() == x.shape());
  for (const auto& [name, parameter] : net.named_parameters()) {
    INFO(name);
    REQUIRE(parameter.grad().defined());
    CHECK(floats(parameter.grad()) == Floats(static_cast<size_t>(parameter.numel()), 0.0f));
  }
  nn::BatchNorm2d norm(3);
  norm.eval();
  CHECK(norm(x).shape() == x.shape());
  norm.train();
  CHECK(error_of([&] { norm(x); }) == "BatchNorm2d: training needs more than one value per channel, got (0,3,8,8)");
  CHECK(floats(norm.state_dict().find("running_mean")->clone()) == Floats{0, 0, 0});
}

TEST_CASE("what has no mean says so by its own name") {
  tests::ran();
  const Variable none(Tensor::zeros({0, 3}));
  CHECK(error_of([&] { mean(none, {0}); }) == "mean: (0,3) has no elements to take a mean of");
  CHECK(error_of([&] { max(none, {0}); }) == "max: (0,3) has no elements to take a maximum of");
  CHECK(mean(none, {1}).shape() == Shape{0});
  CHECK(error_of([&] { l1_loss(none, none); }) == "l1_loss: (0,3) has no elements to take a mean of");
  CHECK(error_of([&] { mse_loss(none, none); }) == "mse_loss: (0,3) has no elements to take a mean of");
  CHECK(error_of([&] { bce_with_logits(none, none); }) == "bce_with_logits: (0,3) has no elements to take a mean of");
  CHECK(error_of([&] { cross_entropy(none, Tensor::empty({0}, DType::i32)); }) ==
        "cross_entropy: (0,3) has no elements to take a mean of");
  CHECK(error_of([&] {
          instance_norm(Tensor::zeros({1, 3, 0, 4}), {}, {});
        }) == "instance_norm: (1,3,0,4) has no elements to take a mean of");
  Tensor empty = Tensor::empty({0, 3}), velocity = Tensor::empty({0, 3});
  sgd_step(empty, {.momentum = 0.9}, empty, velocity);
  Tensor weights = Tensor::empty({4, 0});
  nn::init::xavier_normal(weights);
  nn::init::kaiming_normal(weights);
}

TEST_CASE("pools whose windows have no pixel are refused") {
  tests::ran();
  for (const Shape& x : {Shape{1, 1, 0, 4}, Shape{1, 1, 4, 0}, Shape{0, 3, 0, 4}}) {
    const std::string error = str("pool2d: expected pictures with pixels, got shape ", x);
    CHECK(error_of([&] { max_pool2d(Tensor::zeros(x), {.padding = 1}); }) == error);
    CHECK(error_of([&] { avg_pool2d(Tensor::zeros(x), {.padding = 1, .count_include_pad = false}); }) == error);
  }
  CHECK(says([] { max_pool2d(Tensor::zeros({1, 1, 4, 4}), {.kernel = 1, .padding = 1}); }, "at most half the kernel"));
  CHECK(says(
      [] {
        max_pool2d(Tensor::ones({1}).expand({1, 1, 1 << 16, 1 << 16}), {});
      },
      "planes of less than 2^31 pixels"));
}

TEST_CASE("case 08-max-pool-backward-index: an index outside of its plane is refused") {
  tests::ran();
  const auto gradient = [](int32_t index) {
    return max_pool2d_backward(Tensor::ones({1, 1, 2, 2}), Tensor::full({1, 1, 2, 2}, index, DType::i32), {1, 1, 4, 4},
                               {});
  };
  CHECK(error_of([&] { gradient(999999); }) == "max_pool2d_backward: index 999999 is outside 0..15");
  CHECK(error_of([&] { gradient(16); }) == "max_pool2d_backward: index 16 is outside 0..15");
  CHECK(error_of([&] { gradient(-1); }) == "max_pool2d_backward: index -1 is outside 0..15");
  CHECK(sum(gradient(15)).item() == 4);
}

TEST_CASE("expanded views are not written") {
  tests::ran();
  const Tensor column = Tensor::zeros({2, 1});
  Tensor view = column.expand({2, 3});
  const std::string sentence =
      ": (2,3) is an expanded view, whose elements along dimension 1 are one in memory; write into its clone()";
  CHECK(error_of([&] { view.fill(1); }) == "fill" + sentence);
  CHECK(error_of([&] { view.copy_from(Tensor::ones({2, 3})); }) == "copy_from" + sentence);
  CHECK(error_of([&] { add_into(Tensor::ones({2, 3}), view); }) == "add_into" + sentence);
  CHECK(error_of([&] { nn::init::normal(view, 0, 1); }) == "random_normal" + sentence);
  CHECK(floats(column) == Floats{0, 0});
  Tensor same = column.expand({1, 2, 1});  // nothing is repeated
  same.fill(2);
  CHECK(floats(column) == Floats{2, 2});
  column.expand({0, 2, 1}).transpose(0, 1).clone().fill(1);
  Tensor state = Tensor::zeros({3}), fixed = Tensor::zeros({1}).expand({3});
  CHECK(says([&] { sgd_step(state, {}, fixed, state); }, "expected param (3) to be contiguous"));
}

TEST_CASE("copies and sums between overlapping views read what was there before") {
  tests::ran();
  for (const std::string& variant : kernels::copy.variants(Device::cpu)) {
    INFO(variant);
    const ForcedVariant forced(kernels::copy, variant);
    Tensor x = row({0, 1, 2, 3, 4, 5});
    x.slice(0, 1, 6).copy_from(x.slice(0, 0, 5));  // upwards, as memmove
    CHECK(floats(x) == Floats{0, 0, 1, 2, 3, 4});
    x.slice(0, 0, 5).copy_from(x.slice(0, 1, 6));
    CHECK(floats(x) == Floats{0, 1, 2, 3, 4, 4});
    Tensor square = row({1, 2, 3, 4}).reshape({2, 2});
    square.copy_from(square.transpose(0, 1));
    CHECK(floats(square) == Floats{1, 3, 2, 4});
    square.copy_from(square.select(0, 0).expand({2, 2}));
    CHECK(floats(square) == Floats{1, 3, 1, 3});
  }
  Tensor x = row({1, 2, 3, 4});
  Tensor later = x.slice(0, 1, 4);
  add_into(x.slice(0, 0, 3), later);
  CHECK(floats(x) == Floats{1, 3, 5, 7});
  add_into(x, x);
  CHECK(floats(x) == Floats{2, 6, 10, 14});
  add_into(x.select(0, 0).expand({4}), x);
  CHECK(floats(x) == Floats{4, 8, 12, 16});
  CHECK(x.slice(0, 0, 2).overlaps(x.slice(0, 1, 3)));
  CHECK_FALSE(x.slice(0, 0, 2).overlaps(x.slice(0, 2, 4)));
  CHECK_FALSE(x.overlaps(x.clone()));

  // What runs in parallel is refused.
  std::vector<Tensor> values{x.slice(0, 0, 3), x.slice(0, 1, 4)}, m(2), v{Tensor::zeros({3}), Tensor::zeros({3})};
  const std::vector<Tensor> grads{Tensor::ones({3}), Tensor::ones({3})};
  CHECK(error_of([&] { adam_step(grads, {.beta1 = 0}, adam_state(1), values, m, v); }) ==
        "adam_step: parameters of shapes (3) and (3) lie on the same memory");
}

TEST_CASE("case 28-reshape-minus-one: reshape of a Variable takes one -1") {
  tests::ran();
  const Variable x(row({0, 1, 2, 3, 4, 5}).reshape({2, 3}), true);
  const Variable y = reshape(x, {3, -1});
  CHECK(y.shape() == Shape{3, 2});
  CHECK(y.value().shares_storage(x.value()));
  y.backward(row({1, 2, 3, 4, 5, 6}).reshape({3, 2}));
  CHECK(floats(x.grad()) == Floats{1, 2, 3, 4, 5, 6});
  CHECK(floats(reshape(transpose(x, 0, 1), {-1}).value()) == Floats{0, 3, 1, 4, 2, 5});
  CHECK(reshape(x, Shape{6}).shape() == Shape{6});
  CHECK(reshape(x, {6}).shape() == Shape{6});
  CHECK(error_of([&] { reshape(x, {-1, -1}); }) == "reshape: only one size may be -1");
  CHECK(error_of([&] { reshape(x, {4, -1}); }) == "reshape: (2,3) has no whole size for the -1 of (4,1)");
  CHECK(error_of([&] {
          reshape(Tensor::zeros({0, 3}), {0, -1});
        }) == "reshape: (0,3) has no whole size for the -1 of (0,1)");
  CHECK(reshape(Tensor::zeros({0, 3}), {-1, 3}).shape() == Shape{0, 3});
}

TEST_CASE("cat takes tensors, variables and both in braces") {
  tests::ran();
  const Tensor a = row({1, 2}), b = row({3});
  const Variable v(row({4}), true);
  CHECK(floats(cat({a, b}, 0)) == Floats{1, 2, 3});
  CHECK(floats(cat({v, v}, 0).value()) == Floats{4, 4});
  CHECK(floats(cat({a, v}, 0).value()) == Floats{1, 2, 4});
  CHECK(floats(cat({a}, 0)) == Floats{1, 2});
  CHECK(floats(cat(std::vector<Tensor>{a, b}, 0)) == Floats{1, 2, 3});
  CHECK(error_of([&] { cat({v, v}, 1); }) == "cat: dimension 1 is out of range for rank 1");
}

TEST_CASE("case 22-cross-entropy-255: labels that do not count, and others by the op's name") {
  tests::ran();
  const Variable x(Tensor::from<double>({1, -2, 0.5, 0.25, 3, -1, -0.5, 0, 2, 1, 1, 1}, {4, 3}), true);
  const auto labels = [](const std::vector<int32_t>& values) { return Tensor::from(values, {4}); };
  CHECK(error_of([&] {
          cross_entropy(x, labels({0, 255, 2, 1}));
        }) == "cross_entropy: label 255 is outside 0..2; one that is not to count can be given as ignore_index");
  CHECK(says([&] { cross_entropy(x, labels({0, -1, 2, 1})); }, "cross_entropy: label -1 is outside 0..2"));
  CHECK(says([&] { cross_entropy(x, Tensor::zeros({4})); }, "cross_entropy: expected i32 or u8 labels, got f32"));

  // torch.nn.functional.cross_entropy and its gradient, float64.
  Variable loss = cross_entropy(x, labels({0, 255, 2, 1}), 255);
  loss.backward();
  CHECK(near(loss.value().reshape({1}), {0.5999810959766702}));
  CHECK(near(x.grad(), {-0.13208370128379138, 0.010019629189858006, 0.1220640720939334, 0, 0, 0, 0.022475119410817646,
                        0.037055207434140376, -0.05953032684495803, 0.1111111111111111, -0.2222222222222222,
                        0.1111111111111111}));
  Variable(x).zero_grad();
  loss = cross_entropy(x, labels({-100, 1, 2, -100}));
  loss.backward();
  CHECK(near(loss.value().reshape({1}), {0.13788514916185834}));
  CHECK(near(x.grad(), {0, 0, 0, 0.029534878796255118, -0.037996763246066545, 0.008461884449811405, 0.03371267911622647,
                        0.05558281115121057, -0.08929549026743705, 0, 0, 0}));
  CHECK(std::isnan(cross_entropy(x, labels({-100, -100, -100, -100})).item()));
  CHECK(near(cross_entropy(x, Tensor::from<uint8_t>({0, 255, 2, 1}, {4}), 255).value().reshape({1}),
             {0.5999810959766702}));
  // An ignored row's class 0 may be impossible.
  const double kInf = std::numeric_limits<double>::infinity();
  const Variable masked(Tensor::from<double>({0, -kInf, 1, -kInf, 0, 1}, {2, 3}), true);
  loss = cross_entropy(masked, Tensor::from<int32_t>({2, 5}, {2}), 5);
  loss.backward();
  CHECK(near(loss.value().reshape({1}), {0.31326168751822286}));
  CHECK(near(masked.grad(), {0.2689414213699951, 0, -0.2689414213699951, 0, 0, 0}));
}

TEST_CASE("batch norm wants pictures") {
  tests::ran();
  nn::BatchNorm2d norm(3);
  for (const bool training : {true, false}) {
    norm.train(training);
    for (const Shape& x : {Shape{2, 3}, Shape{2, 3, 4}, Shape{3}, Shape{}, Shape{2, 4, 2, 2}, Shape{2, 3, 2, 2, 2}}) {
      CHECK(error_of([&] { norm(Tensor::ones(x)); }) == str("BatchNorm2d: expected [N,3,H,W], got ", x));
    }
  }
  CHECK(says([] { nn::SpectralConv2d({.in = 3, .out = 0}); }, "Conv2d: in=3, out=0, groups=1 do not divide"));
  CHECK(says([] { nn::Conv2d({.in = 3, .out = 4, .groups = 0}); }, "groups=0 do not divide"));
  CHECK(says([] { nn::Conv2d({.in = 3, .out = 4, .kernel = 0}); }, "expected a kernel with pixels, got 0 x 0"));
}

namespace {

// A module of a user's own, one of whose layers lies in a Sequential.
class TwoPaths : public nn::Layer {
 public:
  TwoPaths() : head_(register_module<nn::Linear>("head", 4, 2)), body_(register_module<nn::Sequential>("body")) {
    body_.add<nn::ReLU>();
    body_.add<nn::Sequential>().add<nn::Conv2d>(nn::Conv2dOptions{.in = 3, .out = 4});
  }
  Variable forward(const Variable& x) override { return x.rank() == 2 ? head_(x) : body_(x); }

 private:
  nn::Linear& head_;
  nn::Sequential& body_;
};

class NoMemory : public nn::Layer {
 public:
  Variable forward(const Variable&) override { throw OutOfMemory("no memory", 3, 2, 1); }
};

}  // namespace

TEST_CASE("an error in a layer begins with the layer's path") {
  tests::ran();
  nn::Sequential net;
  net.add<nn::ReLU>();
  net.add<TwoPaths>();
  CHECK(error_of([&] {
          net(Tensor::ones({1, 2, 4, 4}));
        }) == "1.body.1.0: conv2d: x has 2 channels, but w (4,3,1,1) with groups=1 needs 3");
  CHECK(says([&] { net(Tensor::ones({1, 3})); }, "1.head: matmul: a (1,3) has 3 columns"));
  CHECK(says([&] { TwoPaths()(Tensor::ones({1, 3})); }, "head: matmul: "));
  CHECK(says([&] { nn::Linear(4, 2)(Tensor::ones({1, 3})); }, "matmul: "));
  CHECK(error_of([&] { nn::Linear(4, 2)(Tensor::ones({1, 3})); }).starts_with("matmul: "));
  net.add<NoMemory>();
  CHECK_THROWS_AS(net(Tensor::ones({1, 4})), OutOfMemory);  // what a trainer answers with advice

  asapnet::Config config = asapnet::preset("quick");
  asapnet::Generator generator(config);
  CHECK(says([&] { generator.lowres_stream().forward(Tensor::ones({1, 2, 64, 64})); }, "lowres_stream.model."));
}

TEST_CASE("ASAP_KERNEL names a variant that is added later") {
  if (child) return;
  tests::ran();
  CHECK(environment_is_set);
  Tensor state = adam_state(1);
  CHECK(says([&] { adam_begin({}, {}, state); }, "kernel: adam_begin has no variant 'mine'; it has"));
  { const ForcedVariant naive(kernels::adam_begin, "naive"); }  // whose end goes back to it
  CHECK(kernels::adam_begin.forced() == "mine");
  kernels::adam_begin.add(Device::cpu, "mine", [](const Tensor&, const AdamParams&, Tensor& begun) { begun.fill(7); });
  adam_begin({}, {}, state);
  CHECK(state.select(0, 0).item() == 7);
  CHECK(says(
      [&] {
        one_hot(Tensor::zeros({1, 2, 2}, DType::i32), 2);
      },
      "kernel: label_planes has no variant 'missing'; it has"));
  CHECK(says([&] { kernels::adam_begin.force("else"); }, "kernel: adam_begin has no variant 'else'; it has"));
  kernels::label_planes.force("");
}

TEST_CASE("in a child: ASAP_KERNEL names no slot") {
  if (!child) {
    tests::ran();
    CHECK(run_child("ASAP_KERNEL=unray=naive", "in a child: ASAP_KERNEL names no slot") == 0);
    CHECK(run_child("ASAP_KERNEL=unary=naive", "in a child: ASAP_KERNEL names no slot") != 0);
    return;
  }
  tests::ran();
  for (int use = 0; use < 2; ++use)
    CHECK(says([] { Tensor::zeros({1}); }, "kernel: there is no slot 'unray'; the slots are "));
}

TEST_CASE("in a child: waiting threads sleep") {
  const std::string name = "in a child: waiting threads sleep";
  if (!child) {
    tests::ran();
    CHECK(run_child("-u OMP_WAIT_POLICY -u GOMP_SPINCOUNT", name) == 0);
    CHECK(run_child("-u OMP_WAIT_POLICY GOMP_SPINCOUNT=5", name) != 0);  // which is the user's word
    return;
  }
  tests::ran();
  std::string program = "test_library_edges", only = "--test-case=" + name;
  char* arguments[] = {program.data(), only.data(), nullptr};
  let_waiting_threads_sleep(arguments);  // comes back in the second start alone
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  CHECK((policy && std::string(policy) == "passive"));
}

TEST_CASE("models that are built side by side have the weights of their seeds") {
  tests::ran();
  const auto weights = [](uint64_t seed) {
    nn::manual_seed(seed);
    std::vector<Floats> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(floats(nn::Conv2d({.in = 8, .out = 16, .kernel = 3}).weight.value()));
      all.push_back(floats(nn::Linear(64, 32).bias.value()));
    }
    asapnet::AsapNet model(tests::tiny_model(), seed);
    for (const Variable& parameter : model.generator().parameters()) all.push_back(floats(parameter.value()));
    for (const Variable& parameter : model.discriminator().parameters()) all.push_back(floats(parameter.value()));
    return all;
  };
  const auto first = weights(1), second = weights(2);
  CHECK(first != second);
  for (int round = 0; round < 5; ++round) {
    std::vector<Floats> a, b;
    std::thread one([&] { a = weights(1); }), two([&] { b = weights(2); });
    one.join();
    two.join();
    CHECK(a == first);
    CHECK(b == second);
  }
  // A thread that gives no seed begins with the one given last.
  nn::manual_seed(3);
  const Floats here = floats(nn::Linear(4, 4).weight.value());
  Floats there;
  std::thread([&] { there = floats(nn::Linear(4, 4).weight.value()); }).join();
  CHECK(here == there);
  // A model's weights are drawn from a stream of its own.
  nn::manual_seed(3);
  const asapnet::AsapNet between(tests::tiny_model(), 7);
  CHECK(floats(nn::Linear(4, 4).weight.value()) == here);
}
