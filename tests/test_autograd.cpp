// How the engine behaves: where gradients go, what is kept and freed, which mistakes are caught and in which words.
// That the gradients of the ops are right is test_op_cases.cpp's part.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "autograd/ops.h"
#include "nn/spectral_norm.h"
#include "tests/gradcheck.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

Variable leaf(std::vector<double> values) {
  const auto n = static_cast<int64_t>(values.size());
  return Variable(Tensor::from(values, {n}), true);
}
Variable leaf(const Shape& shape, uint64_t seed = 1) {
  return Variable(random_normal(shape, {.seed = seed}, DType::f64), true);
}
std::vector<double> values(const Tensor& x) { return x.to_vector<double>(); }
using Values = std::vector<double>;


}  // namespace

TEST_CASE("the graph of docs/autograd.md") {
  ran();
  const Variable a = leaf(Values{2}), b = leaf(Values{3});
  Variable p = a * b, q = p + b;
  p.retain_grad();
  q.retain_grad();
  const Variable loss = square(q);
  CHECK(values(p.value()) == Values{6});
  CHECK(values(q.value()) == Values{9});
  CHECK(values(loss.value()) == Values{81});
  loss.backward();
  CHECK(values(q.grad()) == Values{18});
  CHECK(values(p.grad()) == Values{18});
  CHECK(values(a.grad()) == Values{54});
  CHECK(values(b.grad()) == Values{54});
  CHECK_FALSE(b.grad().shares_storage(q.grad()));
}

TEST_CASE("gradients accumulate in leaves until they are cleared") {
  ran();
  Variable x = leaf(Values{1, 2});
  sum(x * 3.0).backward();
  sum(x * 4.0).backward();
  CHECK(values(x.grad()) == Values{7, 7});
  x.zero_grad();
  CHECK_FALSE(x.grad().defined());
  sum(square(x)).backward();
  CHECK(values(x.grad()) == Values{2, 4});
}

TEST_CASE("a value used on several paths collects all their gradients") {
  ran();
  SUBCASE("diamond") {
    Variable x = leaf(Values{2, 3});
    const Variable y = square(x);
    sum(y * 5.0 + y * x).backward();  // 5x^2 + x^3
    CHECK(values(x.grad()) == Values{20 + 12, 30 + 27});
  }
  SUBCASE("the same operand twice") {
    Variable x = leaf(Values{2, 3});
    sum(x + x).backward();
    CHECK(values(x.grad()) == Values{2, 2});
  }
  SUBCASE("a gradient shared by several inputs is not written into") {
    Variable x = leaf(Values{1, 2, 3, 4});
    const Variable inner = x * 2.0;
    const Variable total = inner + inner;  // both inputs get the very same tensor
    const Variable result = total + reshape(reshape(inner, {2, 2}), {4});
    const Tensor cotangent = Tensor::from(Values{1, 10, 100, 1000}, {4});
    result.backward(cotangent);
    CHECK(values(x.grad()) == Values{6, 60, 600, 6000});
    CHECK(values(cotangent) == Values{1, 10, 100, 1000});
  }
  SUBCASE("the cotangent is not taken over by the leaf it reaches") {
    Variable x = leaf(Values{1, 2});
    const Tensor cotangent = Tensor::from(Values{3, 4}, {2});
    (x + 0.0).backward(cotangent);
    (x + 0.0).backward(cotangent);
    CHECK(values(x.grad()) == Values{6, 8});
    CHECK(values(cotangent) == Values{3, 4});
  }
  SUBCASE("slices of one value") {
    Variable x = leaf(Values{1, 2, 3});
    const auto parts = split(x, {1, 2}, 0);
    (sum(parts[0] * 2.0) + sum(parts[1] * 3.0) + sum(slice(x, 0, 0, 2))).backward();
    CHECK(values(x.grad()) == Values{3, 4, 3});
  }
}

TEST_CASE("a saved value that was modified in place is caught by name") {
  ran();
  Variable w = leaf(Shape{2, 3, 3, 3});
  Variable x = leaf(Shape{1, 3, 5, 5}, 2);
  const Variable y = sum(conv2d(x, w, {}));
  Tensor value = w.value();
  value.fill(0);  // as an optimiser's step would
  const std::string error = error_of([&] { y.backward(); });
  CHECK(contains(error, "conv2d"));
  CHECK(contains(error, "(2,3,3,3)"));
  CHECK(contains(error, "modified in place"));
  // What was not saved may change: the sum needs only its input's shape.
  Variable z = leaf(Values{1, 2});
  const Variable total = sum(z);
  Tensor z_value = z.value();
  z_value.fill(7);
  total.backward();
  CHECK(values(z.grad()) == Values{1, 1});
}

TEST_CASE("softmax is right for large logits and for those of -inf") {
  ran();
  const double inf = std::numeric_limits<double>::infinity();
  Variable x = leaf(Values{-inf, 1e4, 1e4, -1e4});
  const auto gradient = [&](const Variable& y) {
    x.zero_grad();
    y.backward(Tensor::from(Values{1, 2, 4, 8}, {4}));
    return values(x.grad());
  };
  const Variable y = softmax(x, 0), log_y = log_softmax(x, -1);
  CHECK(values(y.value()) == Values{0, 0.5, 0.5, 0});
  CHECK(values(log_y.value()) == Values{-inf, -std::log(2.0), -std::log(2.0), -2e4 - std::log(2.0)});
  CHECK(gradient(y) == Values{0, -0.5, 0.5, 0});
  CHECK(gradient(log_y) == Values{1, -5.5, -3.5, 8});
  for (const double value : values(softmax(leaf(Values{-inf, -inf}), 0).value())) CHECK(std::isnan(value));
  CHECK(error_of([] { softmax(leaf(Values{1}), 1); }).starts_with("softmax: "));
}

TEST_CASE("spectral norm's gradient is that of its own forward, whatever later ones made of u and v") {
  ran();
  Variable w = leaf(Shape{3, 2, 2});
  Tensor u = random_normal({3}, {.seed = 2}, DType::f64), v = random_normal({4}, {.seed = 3}, DType::f64);
  const Tensor cotangent = random_normal(w.shape(), {.seed = 4}, DType::f64);
  const auto gradient = [&](const Variable& y) {
    w.zero_grad();
    y.backward(cotangent);
    return values(w.grad());
  };
  const Variable first = nn::spectral_norm(w, {}, u, v);
  Tensor first_u = u.clone(), first_v = v.clone();
  const Variable second = nn::spectral_norm(w, {}, u, v);
  CHECK(values(u) != values(first_u));
  const Variable evaluated = nn::spectral_norm(w, {.power_iteration = false}, first_u, first_v);
  const Values wanted = gradient(evaluated), found = gradient(first);
  for (size_t i = 0; i < wanted.size(); ++i) CHECK(found[i] == doctest::Approx(wanted[i]).epsilon(1e-12));
  CHECK(gradient(second) != found);
}

TEST_CASE("a graph runs once") {
  ran();
  Variable x = leaf(Values{1, 2});
  const Variable y = sum(square(x));
  y.backward();
  const std::string error = error_of([&] { y.backward(); });
  CHECK(contains(error, "already run and freed"));
  // A part of it that another root shares is freed too, and says so rather than giving half a gradient.
  const Variable shared = square(x), first = sum(shared), second = mean(shared);
  first.backward();
  CHECK(contains(error_of([&] { second.backward(); }), "square"));
}

TEST_CASE("backward asks for what it needs") {
  ran();
  Variable x = leaf(Values{1, 2});
  CHECK(contains(error_of([&] { (x * 2.0).backward(); }), "one element"));
  CHECK(contains(error_of([&] { (x * 2.0).backward(Tensor::ones({3}, DType::f64)); }), "(2)"));
  CHECK(contains(error_of([&] { (x * 2.0).backward(Tensor::ones({2}, DType::f32)); }), "f32"));
  CHECK(contains(error_of([&] { Variable(x.value()).backward(Tensor::ones({2}, DType::f64)); }), "requires a gradient"));
  CHECK(contains(error_of([&] { Variable(Tensor::zeros({2}, DType::i32), true); }), "i32"));
  CHECK(contains(error_of([&] { (x * 2.0).set_requires_grad(false); }), "leaf"));
}

TEST_CASE("NoGrad and detach stop gradients") {
  ran();
  Variable x = leaf(Values{1, 2});
  {
    const NoGrad outer;
    CHECK_FALSE(grad_enabled());
    { const NoGrad inner; }
    CHECK_FALSE(grad_enabled());
    CHECK_FALSE((x * 2.0).requires_grad());
  }
  CHECK(grad_enabled());
  const Variable stopped = square(x).detach();
  CHECK_FALSE(stopped.requires_grad());
  CHECK(stopped.is_leaf());
  sum(stopped * x).backward();
  CHECK(values(x.grad()) == Values{1, 4});
}

TEST_CASE("retain_grad keeps an intermediate gradient") {
  ran();
  Variable x = leaf(Values{1, 2});
  Variable kept = x * 3.0, not_kept = square(kept);
  kept.retain_grad();
  sum(not_kept + kept).backward();
  CHECK(values(kept.grad()) == Values{7, 13});
  CHECK_FALSE(not_kept.grad().defined());
  CHECK(values(x.grad()) == Values{21, 39});
  Variable none;
  CHECK(error_of([&] { none.retain_grad(); }) == "Variable: the variable is undefined");
  CHECK(error_of([&] { none.set_grad(Tensor()); }) == "Variable: the variable is undefined");
}

TEST_CASE("gradient hooks see whole gradients, once a pass, and replace them") {
  ran();
  Variable x = leaf(Values{2, 3});
  std::vector<Values> seen;
  const auto clip = [&](const Tensor& grad) {
    seen.push_back(values(grad));
    return unary(UnaryOp::clamp, grad, {.a = -5, .b = 5});
  };
  {
    // d/dx of 3x + x^2: 3 + 2x = 7, 9, which arrive in two parts of which none would be cut.
    const HookHandle hook = x.add_gradient_hook(clip);
    const auto loss = [&] { return sum(x * 3 + square(x)); };
    loss().backward();
    CHECK(seen == std::vector<Values>{{7, 9}});
    CHECK(values(x.grad()) == Values{5, 5});
    loss().backward();  // adds to what is there
    CHECK(values(x.grad()) == Values{10, 10});
    x.zero_grad();
  }
  square(x).backward(Tensor::from<double>({1, 10}, {2}));
  CHECK(values(x.grad()) == Values{4, 60});

  x.zero_grad();
  seen.clear();
  Variable y = x * 2;
  y.retain_grad();
  const HookHandle hook = y.add_gradient_hook(clip);
  sum(y * 4 + y * 4).backward();
  CHECK(seen == std::vector<Values>{{8, 8}});
  CHECK(values(y.grad()) == Values{5, 5});
  CHECK(values(x.grad()) == Values{10, 10});

  const HookHandle wrong = x.add_gradient_hook([](const Tensor&) { return Tensor::zeros({3}); });
  CHECK(error_of([&] { sum(x).backward(); }) == "gradient hook: expected a gradient of shape (2) and type f64, got (3) and f32");
  Variable constant(Tensor::zeros({1}));
  CHECK(error_of([&] { (void)constant.add_gradient_hook(clip); }) == "add_gradient_hook: expected a variable that gets a gradient");
}

TEST_CASE("an op of the user's own") {
  ran();
  int asked_for_second = 0;
  auto cubed_times = [&](const Variable& a, const Variable& b) {  // a^3 * b
    return custom_op(
        "cubed_times", {a, b},
        [](const std::vector<Tensor>& in) { return mul(mul(mul(in[0], in[0]), in[0]), in[1]); },
        [&](const std::vector<Tensor>& in, const Tensor&, const Tensor& dy, std::span<const bool> needs) {
          std::vector<Tensor> grads(2);
          const Tensor square = mul(in[0], in[0]);
          if (needs[0]) grads[0] = mul(dy, affine(mul(square, in[1]), 3, 0));
          if (needs[1]) ++asked_for_second, grads[1] = mul(dy, mul(square, in[0]));
          return grads;
        });
  };
  Variable a = leaf(Values{1, 2}), b = leaf(Values{3, 4});
  CHECK(gradcheck([&](const std::vector<Variable>& in) { return cubed_times(in[0], in[1]); }, {a, b}).passed);
  CHECK(asked_for_second == 1);
  sum(cubed_times(a, b.detach())).backward();
  CHECK(asked_for_second == 1);
  CHECK(values(a.grad()) == Values{9, 48});
  const Variable wrong = custom_op("too_few", {a, b}, [](const std::vector<Tensor>& in) { return in[0].clone(); },
                                   [](const auto&, const Tensor&, const Tensor& dy, auto) { return std::vector{dy}; });
  CHECK(contains(error_of([&] { sum(wrong).backward(); }), "too_few returned 1 gradients for 2 inputs"));
  const Variable misshaped = custom_op("misshaped", {a}, [](const std::vector<Tensor>& in) { return in[0].clone(); },
                                       [](const auto&, const Tensor&, const Tensor&, auto) {
                                         return std::vector{Tensor::ones({3}, DType::f64)};
                                       });
  CHECK(contains(error_of([&] { sum(misshaped).backward(); }), "misshaped"));
}

TEST_CASE("a chain of 100,000 nodes needs no deep stack") {
  ran();
  constexpr int kLength = 100000;
  Variable x = leaf(Values{1});
  SUBCASE("run backwards") {
    Variable y = x;
    for (int i = 0; i < kLength; ++i) y = y + 1.0;
    y.backward();
    CHECK(values(x.grad()) == Values{1});
  }
  SUBCASE("dropped without a run") {
    Variable y = x;
    for (int i = 0; i < kLength; ++i) y = y + x;
    y = Variable();
    CHECK_FALSE(x.grad().defined());
  }
}

TEST_CASE("a frozen input costs no gradient") {
  ran();
  auto& input_grad = kernels::conv2d_input_grad;
  auto& weight_grad = kernels::conv2d_weight_grad;
  const Shape x_shape{1, 2, 5, 5}, w_shape{3, 2, 3, 3};
  const auto run = [&](bool x_needs, bool w_needs) {
    const Variable x(random_normal(x_shape, {.seed = 1}), x_needs), w(random_normal(w_shape, {.seed = 2}), w_needs);
    input_grad.forget_last_variant();
    weight_grad.forget_last_variant();
    sum(conv2d(x, w, {})).backward();
    CHECK(x.grad().defined() == x_needs);
    CHECK(w.grad().defined() == w_needs);
    CHECK(input_grad.last_variant().empty() == !x_needs);
    CHECK(weight_grad.last_variant().empty() == !w_needs);
  };
  run(true, false);  // a frozen network: no weight gradient
  run(false, true);  // the first layer: no gradient of the picture
  run(true, true);
}

TEST_CASE("memory is freed as the graph runs") {
  ran();
  const auto in_use = [] { return static_cast<int64_t>(memory_use(Device::cpu).current); };
  constexpr int64_t kCount = 1 << 18, kBytes = kCount * 8;
  Variable x = leaf(Shape{kCount});
  const int64_t before = in_use();
  {
    Variable y = x;
    for (int i = 0; i < 10; ++i) y = tanh(y);  // each node keeps its output
    const Variable total = sum(y);
    y = Variable();
    CHECK(in_use() >= before + 10 * kBytes);
    total.backward();
    CHECK(in_use() <= before + kBytes + 4096);  // the root still lives, what it kept does not: only x's gradient is left
  }
  x.zero_grad();
  CHECK(in_use() == before);
  {
    Variable y = leaf(Shape{kCount}, 2).detach();
    const int64_t start = in_use();
    for (int i = 0; i < 10; ++i) y = tanh(y);  // nothing needs a gradient: nothing is kept
    CHECK(in_use() == start);
  }
}

TEST_CASE("a frozen weight does not keep the layer's input alive") {
  ran();
  const auto in_use = [] { return static_cast<int64_t>(memory_use(Device::cpu).current); };
  constexpr int64_t kSide = 256, kBytes = kSide * kSide * 4;
  const Variable x(random_normal({1, 1, kSide, kSide}, {}), true);
  const Variable w(random_normal({1, 1, 1, 1}, {}));
  const int64_t before = in_use();
  Variable y = x;
  for (int i = 0; i < 10; ++i) y = conv2d(y, w, {});
  CHECK(in_use() < before + 2 * kBytes);
}

TEST_CASE("gradcheck fails on a wrong gradient, and a random cotangent sees what ones would not") {
  ran();
  const Variable x = leaf(Shape{2, 3, 4, 5});
  // Instance norm without the two terms by which mean and variance depend on x: dx = dy * rstd.
  auto forward = [](const std::vector<Tensor>& in) { return instance_norm(in[0], {}, {}).y; };
  auto crippled = [](const std::vector<Tensor>& in, const Tensor& y, const Tensor& dy, std::span<const bool>) {
    const NormResult norm = instance_norm(in[0], {}, {});
    const Tensor rstd = norm.rstd.reshape({2, 3, 1, 1});
    const Tensor centred = sub(dy, mean(dy, {2, 3}, true));  // one term kept: sums to zero under ones
    (void)y;
    return std::vector{mul(centred, rstd)};
  };
  auto norm = [&](const Variable& v) { return custom_op("crippled_norm", {v}, forward, crippled); };
  const GradcheckResult random = gradcheck([&](const std::vector<Variable>& in) { return norm(in[0]); }, {x});
  CHECK_FALSE(random.passed);
  CHECK(random.worst > 0.01);
  CHECK(contains(random.message, "input 0"));
  // A sum is a cotangent of ones: the true gradient is zero, and so is the crippled one.
  const GradcheckResult ones =
      gradcheck([&](const std::vector<Variable>& in) { return sum(norm(in[0])); }, {x}, {.tolerance = 1e-4});
  CHECK(ones.passed);
  CHECK(gradcheck([](const std::vector<Variable>& in) { return instance_norm(in[0], {}, {}); }, {x}).passed);
}

TEST_CASE("gradcheck notices a missing or NaN gradient and wants float64") {
  ran();
  const Variable x = leaf(Values{1, 2}), y = leaf(Values{3, 4});
  using In = const std::vector<Variable>&;
  const GradcheckResult missing = gradcheck([](In in) { return square(in[0]); }, {x, y});
  CHECK_FALSE(missing.passed);
  CHECK(contains(missing.message, "input 1"));
  auto nan = [](In in) {
    return custom_op("nan", in, [](const std::vector<Tensor>& v) { return v[0].clone(); },
                     [](const auto&, const Tensor&, const Tensor& dy, auto) {
                       return std::vector{affine(dy, std::nan(""), 0)};
                     });
  };
  CHECK_FALSE(gradcheck(nan, {x}).passed);
  const Variable single(Tensor::ones({2}), true);
  CHECK(contains(error_of([&] { gradcheck([](In in) { return square(in[0]); }, {single}); }), "f64"));
  CHECK_FALSE(x.grad().defined());  // the caller's variables are left alone
}
