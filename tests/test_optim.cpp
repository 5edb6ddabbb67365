// Optimisers, clipping, schedules and averages against PyTorch (golden/make_optim.py) and their own definitions, and a run
// that goes on from its file to the bit. Adam alone is in test_golden_training.cpp, each kernel variant in test_op_cases.cpp.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "nn/checkpoint_file.h"
#include "nn/ema.h"
#include "nn/layers.h"
#include "nn/safetensors.h"
#include "nn/training_state.h"
#include "tests/support/golden.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::tests;

namespace {

using Floats = std::vector<float>;
Floats floats(const Tensor& x) { return x.to_vector<float>(); }
Variable parameter(const Floats& values) {
  return Variable(Tensor::from(values, {static_cast<int64_t>(values.size())}), true);
}

}  // namespace

TEST_CASE("AdamW with parameter groups, clipping and warm-up matches PyTorch's") {
  ran();
  const Golden golden("optim");
  Variable w(golden.at("start.w").clone(), true), b(golden.at("start.b").clone(), true);
  constexpr double kLr = 0.05;
  nn::AdamW adam({{{{"w", w}}}, {.parameters = {{"b", b}}, .lr_scale = 0.1, .weight_decay = 0}},
                 {.lr = kLr, .beta1 = 0.8, .beta2 = 0.95, .weight_decay = 0.3});
  // Both in f64; what differs is the order of a few roundings, over twelve steps.
  constexpr double kTolerance = 1e-14;
  for (int i = 0; i < 12; ++i) {
    CAPTURE(i);
    w.set_grad(golden.at(str("grad.w.", i)).clone());
    b.set_grad(golden.at(str("grad.b.", i)).clone());
    const double lr = nn::schedule::warmup_cosine(kLr, i + 1, 4, 12, 0.001);
    CHECK(std::abs(lr - golden.at(str("lr.", i)).item()) < 1e-16);
    adam.set_lr(lr);
    CHECK(golden_difference(nn::clip_grad_norm({w, b}, 1.5), golden.at(str("norm.", i))) < kTolerance);
    adam.step();
    CHECK(golden_difference(w.value(), golden.at(str("w.", i))) < kTolerance);
    CHECK(golden_difference(b.value(), golden.at(str("b.", i))) < kTolerance);
  }
  const nn::StateDict state = adam.state_dict();
  CHECK(state.find("step")->item() == 12);
  for (const char* key : {"w.exp_avg", "w.exp_avg_sq", "b.exp_avg", "b.exp_avg_sq"}) CHECK(state.contains(key));
  CHECK(state.size() == 5);
}

TEST_CASE("SGD's groups have rates and decays of their own") {
  ran();
  Variable a = parameter({1}), b = parameter({1});
  nn::Sgd sgd({{{{"a", a}}}, {.parameters = {{"b", b}}, .lr_scale = 0.5, .weight_decay = 0}},
              {.lr = 1, .weight_decay = 0.25});
  const auto step = [&] {
    a.set_grad(Tensor::full({1}, 0.25));
    b.set_grad(Tensor::full({1}, 0.25));
    sgd.step();
  };
  step();
  CHECK(a.item() == 0.5);    // 1 - (0.25 + 0.25 * 1)
  CHECK(b.item() == 0.875);  // 1 - 0.5 * 0.25
  sgd.set_lr(2);
  step();
  CHECK(a.item() == -0.25);  // 0.5 - 2 * (0.25 + 0.25 * 0.5)
  CHECK(b.item() == 0.625);  // 0.875 - 1 * 0.25
}

TEST_CASE("an optimiser refuses parameters that it cannot step") {
  ran();
  const Variable w = parameter({1}), v = parameter({1});
  CHECK(error_of([&] { nn::Adam(nn::NamedVariables{}, {}); }) == "optimizer: expected parameters, got none");
  CHECK(error_of([&] {
          nn::Adam({{"w", w}, {"v", w}}, {});
        }) == "optimizer: expected every parameter and name once, got 'v' twice");
  CHECK(error_of([&] {
          nn::Adam({{{{"w", w}}}, {{{"w", v}}}}, {});
        }) == "optimizer: expected every parameter and name once, got 'w' twice");
  CHECK(error_of([&] { nn::Sgd({{"w", Variable()}}, {}); }) == "optimizer: the parameter 'w' is undefined");
}

TEST_CASE("clipping leaves small gradients, scales or cuts large ones, and skips those that are not there") {
  ran();
  Variable a = parameter({1, 2}), b = parameter({3}), none = parameter({0});
  const auto set = [&] {
    a.set_grad(Tensor::from<float>({2, -3}, {2}));
    b.set_grad(Tensor::from<float>({6}, {1}));
  };
  set();
  CHECK(nn::clip_grad_norm({a, b, none}, 8).item() == 7);
  CHECK(floats(a.grad()) == Floats{2, -3});
  CHECK(nn::clip_grad_norm({a, b, none}, 3.5).item() == 7);
  for (const auto& [grad, expected] : {std::pair(a.grad().select(0, 1), -1.5), std::pair(b.grad().select(0, 0), 3.0)}) {
    CHECK(std::abs(grad.item() - expected) < 1e-6);  // 1e-6 / 7 of it, which PyTorch adds, and an f32's rounding
  }
  CHECK_FALSE(none.grad().defined());
  set();
  nn::clip_grad_value({a, b, none}, 2.5);
  CHECK(floats(a.grad()) == Floats{2, -2.5f});
  CHECK(floats(b.grad()) == Floats{2.5f});
  set();
  a.set_grad(Tensor::zeros({2}));
  b.zero_grad();
  CHECK(nn::clip_grad_norm({a, b}, 1).item() == 0);
  CHECK(floats(a.grad()) == Floats{0, 0});
  CHECK(nn::clip_grad_norm({none}, 1).item() == 0);
  CHECK(error_of([&] { nn::clip_grad_norm({a}, -1); }) == "clip_grad_norm: expected a norm >= 0, got -1");
  CHECK(error_of([&] { nn::clip_grad_value({a}, -1); }) == "clip_grad_value: expected a limit >= 0, got -1");
}

TEST_CASE("an average of a model follows its parameters, and its buffers are the model's") {
  ran();
  nn::Sequential net, copy;
  for (nn::Sequential* model : {&net, &copy}) {
    model->add<nn::Linear>(2, 1, false);
    model->add<nn::BatchNorm2d>(1);
  }
  const auto fill = [&](const char* key, double value) { Tensor(*net.state_dict().find(key)).fill(value); };
  fill("0.weight", 8);
  fill("1.running_mean", 8);
  nn::Ema ema(net, 0.75);
  fill("0.weight", 4);
  fill("1.running_mean", 4);
  ema.update();
  fill("0.weight", 0);
  ema.update();
  copy.load_state_dict(ema.state_dict());
  CHECK(floats(*copy.state_dict().find("0.weight")) == Floats{5.25f, 5.25f});  // (8, 4: 7; 0: 5.25)
  CHECK(copy.state_dict().find("1.running_mean")->item() == 4);
  CHECK(net.state_dict().find("0.weight")->select(1, 0).item() == 0);

  nn::Ema other(net, 0.5);
  other.load_state_dict(ema.state_dict());
  CHECK(floats(*other.state_dict().find("0.weight")) == Floats{5.25f, 5.25f});
  nn::StateDict wrong = ema.state_dict();
  wrong.set("0.weight", Tensor::zeros({2}));
  wrong.set("more", Tensor::zeros({2}));
  CHECK(error_of([&] { other.load_state_dict(wrong, "file"); }) ==
        "file: missing, unexpected or of another shape: 0.weight more");
  CHECK(error_of([&] { nn::Ema(net, 1); }) == "Ema: expected a decay in [0, 1), got 1");
}

TEST_CASE("the learning rate warms up, then falls as a cosine") {
  ran();
  using nn::schedule::warmup_cosine;
  CHECK(warmup_cosine(1, 1, 4, 8) == 0.25);
  CHECK(warmup_cosine(1, 4, 4, 8) == 1);
  CHECK(warmup_cosine(1, 5, 4, 8) == 1);
  CHECK(std::abs(warmup_cosine(1, 7, 4, 8, 0.5) - 0.75) < 1e-15);
  CHECK(warmup_cosine(1, 9, 4, 8, 0.5) == 0.5);
  CHECK(warmup_cosine(1, 1, 0, 8) == 1);  // none
}

TEST_CASE("an average's update goes by the decay of its time, and not at all where the step did not go") {
  ran();
  nn::Linear net(2, 1, false);
  const auto value = [&] { return net.weight.value().select(1, 0).item(); };
  const auto average = [](const nn::Ema& ema) { return ema.state_dict().find("weight")->select(1, 0).item(); };
  Tensor(net.weight.value()).fill(8);
  nn::Ema ema(net, 0.75);
  Tensor(net.weight.value()).fill(4);
  ema.set_decay(0.5);
  ema.update();
  CHECK(average(ema) == 6);
  ema.update(Tensor::zeros({1}, DType::f64));
  CHECK(average(ema) == 6);
  ema.update(Tensor::ones({1}, DType::f64));
  CHECK(average(ema) == 5);
  {
    const nn::UseAverage use(ema);
    CHECK(value() == 5);
  }
  CHECK(value() == 4);
  CHECK(average(ema) == 5);
  CHECK(error_of([&] { ema.set_decay(-1); }) == "Ema: expected a decay in [0, 1), got -1");

  // As TensorFlow documents it; then the decay itself.
  CHECK(nn::schedule::average_decay(0.999, 1) == 2.0 / 11);
  CHECK(nn::schedule::average_decay(0.999, 90) == 91.0 / 100);
  CHECK(nn::schedule::average_decay(0.999, 8990) == 0.999);
  CHECK(nn::schedule::average_decay(0.1, 1) == 0.1);
  CHECK(nn::schedule::warmup(8, 1, 4) == 2);
  CHECK(nn::schedule::warmup(8, 4, 4) == 8);
  CHECK(nn::schedule::warmup(8, 1, 0) == 8);
}

namespace {

// A run with everything that must be kept: batch norm, two groups, a rate changed by hand, an average, two random streams.
struct Run {
  nn::Sequential net;
  nn::Adam adam;
  nn::Ema ema;
  RandomStream data{.seed = 5};
  nn::TrainingState state;

  Run() : adam(groups(net), {.lr = 0.02}), ema(net, 0.9) {
    state.add("model", net);
    state.add("adam", adam);
    state.add("ema", ema);
    state.add("data", data);
  }
  static nn::ParameterGroups groups(nn::Sequential& net) {
    net.add<nn::Conv2d>(nn::Conv2dOptions{.in = 1, .out = 3, .kernel = 3});
    net.add<nn::BatchNorm2d>(3);
    net.add<nn::Flatten>();
    const nn::Linear& head = net.add<nn::Linear>(12, 2);
    nn::ParameterGroups groups{{}, {.parameters = {{"3.weight", head.weight}, {"3.bias", head.bias}}, .lr_scale = 0.5}};
    for (const auto& [name, variable] : net.named_parameters()) {
      if (!name.starts_with("3.")) groups[0].parameters.emplace_back(name, variable);
    }
    return groups;
  }
  void iterate(int count) {
    for (int i = 0; i < count; ++i) {
      const Tensor x = random_normal({4, 1, 4, 4}, {.seed = data.seed, .offset = data.take(64)});
      Tensor noise = Tensor::empty({4, 2});
      nn::init::normal(noise, 0, 1);
      adam.zero_grad();
      mse_loss(net(x), noise).backward();
      nn::clip_grad_norm(net.parameters(), 1);
      adam.step();
      ema.update();
      if (++state.step == 2) adam.set_lr(0.005 / 3);
    }
  }
  std::vector<Floats> numbers() const {
    std::vector<Floats> all;
    for (const nn::StateDict& part : {net.state_dict(), adam.state_dict(), ema.state_dict()}) {
      for (const auto& [key, tensor] : part) all.push_back(floats(tensor.to(DType::f32)));
    }
    return all;
  }
};

}  // namespace

TEST_CASE("a run that is resumed continues to the bit") {
  ran();
  const ScratchFolder folder;
  const auto path = folder / "run.safetensors";
  nn::manual_seed(3);
  Run whole;
  whole.iterate(3);
  whole.state.save(path);
  whole.iterate(3);

  nn::manual_seed(99);
  Run resumed;
  resumed.iterate(1);
  resumed.state.load(path);
  CHECK(resumed.state.step == 3);
  CHECK(resumed.adam.lr() == 0.005 / 3);
  CHECK(resumed.numbers() != whole.numbers());
  resumed.iterate(3);
  CHECK(resumed.numbers() == whole.numbers());
  CHECK(nn::default_random().offset > 0);

  SUBCASE("a file that is none, and parts that do not fit, are errors that name it") {
    const std::string name = path.string();
    nn::TrainingState less;
    less.add("model", resumed.net);
    CHECK(error_of([&] { less.load(path); }) == name + ": holds parts that this training state does not have");
    nn::TrainingState more;
    RandomStream stream;
    more.add("model", resumed.net);
    more.add("adam", resumed.adam);
    more.add("ema", resumed.ema);
    more.add("second", stream);
    CHECK(error_of([&] { more.load(path); }) == name + ": expected a training state, found none of 'random.second'");
    nn::Sequential other;
    other.add<nn::Linear>(2, 2);
    nn::TrainingState wrong;
    wrong.add("model", other);
    CHECK(contains(error_of([&] { wrong.load(path); }),
                   name + ", model: the keys do not fit the model:\n  wrong shape: 0.weight is (3,1,3,3)"));
    nn::write_safetensors(path, resumed.net.state_dict());
    CHECK(error_of([&] { resumed.state.load(path); }) == name + ": expected a training state, found none of 'step'");
    nn::write_safetensors(path, resumed.net.state_dict(), {{"step", "3x"}});
    CHECK(error_of([&] { resumed.state.load(path); }) == name + ": expected 1 number(s) in 'step', got '3x'");
    CHECK(contains(error_of([&] { resumed.state.load(folder / "none"); }), (folder / "none").string()));
    CHECK(error_of([&] { more.add("model.0", other); }) ==
          "TrainingState: the name 'model.0' is taken, or begins another");
    CHECK(error_of([&] { more.add("second", stream); }) ==
          "TrainingState: the random stream 'second' is there already");
  }
  SUBCASE("what breaks in the middle of saving leaves the whole old file") {
    const nn::StateDict before = nn::read_state_dict(path);
    nn::TrainingState broken;
    struct Breaks {
      nn::StateDict state_dict() const { fail("broken"); }
      void load_state_dict(const nn::StateDict&, const std::string&) {}
    } breaks;
    broken.add("model", resumed.net);
    broken.add("late", breaks);
    CHECK(error_of([&] { broken.save(path); }) == "broken");
    CHECK(nn::read_state_dict(path).size() == before.size());
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  }
}
