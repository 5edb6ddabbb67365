// The two training steps as graphs of the device: the same bits as without, whatever changes between two steps, and no more
// memory. On the CPU nothing is recorded, and the same tests say so.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <span>

#include "asapnet/model.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"

namespace asap {
namespace {

using namespace asapnet;
using namespace tests;

using Bytes = std::vector<std::pair<std::string, std::vector<float>>>;

bool on_card() { return test_device() != Device::cpu; }

Config tiny(bool vae = false) {
  Config config = tiny_model();
  config.use_vae = vae;
  return config;
}

// Another one for each seed.
Batch batch_of(uint64_t seed, int64_t count = 2) {
  Batch batch;
  const double classes = static_cast<double>(tiny().label_channels());
  batch.labels = random_uniform({count, 32, 32}, {.seed = seed, .b = classes}).to(DType::i32).to(test_device());
  batch.image = random_uniform({count, 3, 32, 32}, {.seed = seed + 100, .a = -1}).to(test_device());
  batch.instance =
      random_uniform({count, 1, 32, 32}, {.seed = seed + 200, .b = 2}).to(DType::i32).to(DType::f32).to(test_device());
  return batch;
}

struct Training {
  AsapNet model;
  GanStep step;
  explicit Training(bool graphs, const Config& config = tiny(), bool no_ttur = false)
      : model(config, 1), step(model, OptimizerConfig::defaults(no_ttur), 1) {
    model.to(test_device());
    step.use_graphs(graphs);
  }
  LossValues iterate(const Batch& batch) {
    LossValues losses = step.generator_step(batch);
    for (const auto& loss : step.discriminator_step(batch)) losses.push_back(loss);
    return losses;
  }
  // Every weight, buffer and moment.
  Bytes bytes() {
    Bytes all;
    for (const nn::StateDict& state :
         {model.generator().state_dict(), model.discriminator().state_dict(), step.generator_optimizer().state_dict(),
          step.discriminator_optimizer().state_dict()}) {
      for (const auto& [key, tensor] : state) all.emplace_back(key, tensor.to(DType::f32).to_vector<float>());
    }
    return all;
  }
};

// Both do the same; all losses and, at the end, all weights must be equal.
struct Twins {
  Training graphs{true}, direct{false};
  void iterate(uint64_t seed, int64_t count = 2) {
    CAPTURE(seed);
    const Batch batch = batch_of(seed, count);
    CHECK(graphs.iterate(batch) == direct.iterate(batch));
  }
  template <class F>
  void both(F&& f) {
    f(graphs);
    f(direct);
  }
  // Steps that replayed a graph since the last call.
  int64_t replays() { return graphs.step.replays() - std::exchange(before_, graphs.step.replays()); }
  ~Twins() {
    CHECK(graphs.bytes() == direct.bytes());
    CHECK(direct.step.replays() == 0);
  }

 private:
  int64_t before_ = 0;
};

}  // namespace

TEST_CASE("six iterations replayed equal six direct ones to the last bit, while the rate falls") {
  ran();
  Twins twins;
  for (uint64_t i = 0; i < 6; ++i) {
    twins.both([&](Training& t) { t.step.set_lr(1e-3 / static_cast<double>(i / 2 + 1)); });
    twins.iterate(i);
  }
  CHECK(twins.replays() == (on_card() ? 8 : 0));  // of the 12 steps 2 were done directly and 2 while recording
}

TEST_CASE("several discriminator steps for one of the generator, and first moments") {
  ran();
  Training graphs(true, tiny(), true), direct(false, tiny(), true);
  for (uint64_t i = 0; i < 8; ++i) {
    const Batch batch = batch_of(i);
    if (i % 2 == 0) CHECK(graphs.step.generator_step(batch) == direct.step.generator_step(batch));
    CHECK(graphs.step.discriminator_step(batch) == direct.step.discriminator_step(batch));
  }
  CHECK(graphs.bytes() == direct.bytes());
  CHECK(graphs.step.replays() == (on_card() ? 2 + 6 : 0));
}

TEST_CASE("what a graph holds and is changed is recorded anew") {
  ran();
  Twins twins;
  for (uint64_t i = 0; i < 3; ++i) twins.iterate(i);
  CHECK(twins.replays() == (on_card() ? 2 : 0));
  SUBCASE("the batch's size") {
    twins.iterate(3, 1);
    CHECK(twins.replays() == 0);
  }
  SUBCASE("the precision") {
    const ScopedPrecision precision(Precision::bf16);
    twins.iterate(3);
    CHECK(twins.replays() == 0);
  }
  SUBCASE("a forced kernel") {
    const ForcedVariant naive(kernels::adam, "naive");
    twins.iterate(3);
    CHECK(twins.replays() == 0);
  }
  SUBCASE("a weight that is no longer trained") {
    twins.both([](Training& t) { t.model.generator().parameters()[0].set_requires_grad(false); });
    twins.iterate(3);
    CHECK(twins.replays() == 0);
  }
  SUBCASE("weights elsewhere") {
    twins.both([](Training& t) {
      t.model.to(Device::cpu);
      t.model.to(test_device());
    });
    if (on_card()) twins.iterate(3);
    CHECK(twins.replays() == 0);
  }
  SUBCASE("an optimiser's state that was loaded") {
    twins.both([](Training& t) {
      nn::StateDict state;
      for (const auto& [key, tensor] : t.step.generator_optimizer().state_dict()) state.set(key, tensor.clone());
      t.step.generator_optimizer().load_state_dict(state, "test");
    });
    twins.iterate(3);
    CHECK(twins.replays() == 0);
  }
  for (uint64_t i = 4; i < 7; ++i) twins.iterate(i);
}

TEST_CASE("a loss that is not finite, replayed: its name is told, and no weight or moment has changed") {
  ran();
  Training training(true);
  for (uint64_t i = 0; i < 3; ++i) training.iterate(batch_of(i));
  Batch bad = batch_of(3);
  bad.image.slice(3, 0, 1).fill(std::numeric_limits<float>::quiet_NaN());
  const auto learned = [&] {
    Bytes all;
    for (auto& [key, values] : training.bytes()) {
      if (!key.ends_with("weight_u") && !key.ends_with("weight_v"))
        all.emplace_back(key, values);  // the power iterations'
    }
    return all;
  };
  const Bytes before = learned();
  const int64_t replays = training.step.replays();
  CHECK(contains(error_of([&] { training.step.generator_step(bad); }), "the loss GAN_Feat is nan"));
  CHECK(contains(error_of([&] { training.step.discriminator_step(bad); }), "the loss D_real is nan"));
  CHECK(training.step.replays() == replays + (on_card() ? 2 : 0));
  CHECK(learned() == before);
  for (const auto& [name, value] : training.iterate(batch_of(4))) CHECK(std::isfinite(value));
  CHECK(learned() != before);
}

TEST_CASE("a value saved before a replayed step is not used after it") {
  ran();
  Training training(true);
  for (uint64_t i = 0; i < 3; ++i) training.iterate(batch_of(i));
  const GeneratorLosses kept = training.model.generator_losses(batch_of(3), training.step.noise());
  training.step.generator_step(batch_of(4));
  CHECK(contains(error_of([&] { kept.losses.total().backward(); }), "was modified in place"));
}

TEST_CASE("recorded steps hold no more memory than direct ones, but for the batch that they read") {
  if (!on_card()) return;
  ran();
  const auto held = [](bool graphs) {  // from the system, besides what was held before
    release_cached_memory(Device::cuda);
    const auto all = [] { return memory_use(Device::cuda).current + memory_use(Device::cuda).cached; };
    const size_t before = all();
    Training training(graphs);
    const Batch batch = batch_of(1);
    for (int i = 0; i < 5; ++i) training.iterate(batch);
    return all() - before;
  };
  const size_t direct = held(false), graphs = held(true);
  const Batch batch = batch_of(1);
  CAPTURE(direct);
  CHECK(graphs <= direct + batch.labels.bytes() + batch.image.bytes() + batch.instance.bytes());
}

TEST_CASE("several batches a step: replayed as done directly, and as one large batch") {
  ran();
  Twins twins;
  const auto part = [](const Batch& batch, int64_t i) {
    return Batch{batch.labels.slice(0, i, i + 1), batch.instance.slice(0, i, i + 1), batch.image.slice(0, i, i + 1)};
  };
  const auto iterate = [](Training& training, std::span<const Batch> parts) {
    LossValues losses = training.step.generator_step(parts);
    for (const auto& loss : training.step.discriminator_step(parts)) losses.push_back(loss);
    return losses;
  };
  for (uint64_t i = 0; i < 4; ++i) {
    const Batch batch = batch_of(i, 3);
    const std::vector<Batch> parts{part(batch, 0), part(batch, 1), part(batch, 2)};
    CHECK(iterate(twins.graphs, parts) == iterate(twins.direct, parts));
  }
  CHECK(twins.replays() == (on_card() ? 4 : 0));
  const std::vector<Batch> two{batch_of(5), batch_of(6)}, unequal{batch_of(5), batch_of(6, 1)};
  CHECK(iterate(twins.graphs, two) == iterate(twins.direct, two));  // another number of parts is recorded anew
  CHECK(twins.replays() == 0);
  CHECK(error_of([&] { twins.graphs.step.generator_step(unequal); }) ==
        "training: expected the batches of a step to be of one size, got (2,32,32) and (1,32,32)");
  CHECK(contains(error_of([&] { twins.graphs.step.generator_step(std::span<const Batch>()); }), "at least one batch a step"));
}

TEST_CASE("three batches a step are one three times as large, to rounding: losses, gradients, power iteration") {
  ran();
  if (on_card()) return;  // its kernels are f32
  Config config = tiny();
  SUBCASE("as published") {}
  SUBCASE("without spectral norm") { config.norm_D = "instanceaffine"; }
  SUBCASE("L1 and MSE") { config.lambda_L1 = 3, config.lambda_MSE = 2; }
  SUBCASE("sums over a batch, and the encoder's noise") {
    config = tiny(true);
    config.lambda_phi = 1e-3;
    config.condition_on_z = true;
  }
  // First moments: with beta1 = 0 the first step would be the gradient's sign, whatever its size.
  Training large(false, config, true), parts(false, config, true);
  large.model.to(DType::f64);
  parts.model.to(DType::f64);
  for (uint64_t i = 0; i < 3; ++i) {
    const Batch batch = batch_of(i, 3);
    std::vector<Batch> split;
    for (int64_t k = 0; k < 3; ++k)
      split.push_back({batch.labels.slice(0, k, k + 1), batch.instance.slice(0, k, k + 1), batch.image.slice(0, k, k + 1)});
    const LossValues wanted = large.iterate(batch);
    LossValues found = parts.step.generator_step(split);
    for (const auto& loss : parts.step.discriminator_step(split)) found.push_back(loss);
    REQUIRE(found.size() == wanted.size());
    for (size_t k = 0; k < found.size(); ++k) {
      CAPTURE(wanted[k].first);
      CHECK(std::abs(found[k].second - wanted[k].second) < 1e-8);
    }
  }
  const Bytes wanted = large.bytes(), found = parts.bytes();
  double most = 0;
  for (size_t k = 0; k < wanted.size(); ++k) {
    for (size_t i = 0; i < wanted[k].second.size(); ++i)
      most = std::max(most, std::abs(static_cast<double>(wanted[k].second[i]) - static_cast<double>(found[k].second[i])));
  }
  CHECK(most < 1e-6);  // read as f32
}

TEST_CASE("one part whose loss is not finite: its name is told, and no weight, moment or average has changed") {
  ran();
  Training training(true);
  training.step.keep_average(0.5);
  std::vector<Batch> parts{batch_of(1), batch_of(2)};
  for (int i = 0; i < 3; ++i) {
    training.step.generator_step(parts);
    training.step.discriminator_step(parts);
  }
  const auto learned = [&] {
    Bytes all;
    for (auto& [key, values] : training.bytes()) {
      if (!key.ends_with("weight_u") && !key.ends_with("weight_v")) all.emplace_back(key, values);
    }
    for (const auto& [key, tensor] : training.step.average()->state_dict()) all.emplace_back(key, tensor.to_vector<float>());
    return all;
  };
  const Bytes before = learned();
  for (const size_t bad : {0, 1}) {
    std::vector<Batch> with = parts;
    with[bad].image = with[bad].image.clone();
    with[bad].image.slice(3, 0, 1).fill(std::numeric_limits<float>::quiet_NaN());
    CHECK(contains(error_of([&] { training.step.generator_step(with); }), "the loss GAN_Feat is nan"));
    CHECK(contains(error_of([&] { training.step.discriminator_step(with); }), "the loss D_real is nan"));
  }
  CHECK(learned() == before);
  training.step.generator_step(parts);
  CHECK(learned() != before);
}

TEST_CASE("the generator's average, replayed, follows the weights by the decay of the step") {
  ran();
  Twins twins;
  twins.both([](Training& t) { t.step.keep_average(0.9); });
  const auto value = [](const nn::StateDict& state) { return state.begin()->second.to_vector<float>(); };
  std::vector<double> wanted;
  for (const float start : value(twins.direct.step.average()->state_dict())) wanted.push_back(start);
  for (uint64_t i = 0; i < 5; ++i) {
    const double decay = nn::schedule::average_decay(0.5, static_cast<int64_t>(i) + 1);
    twins.both([&](Training& t) { t.step.average()->set_decay(decay); });
    twins.iterate(i);
    const auto now = value(twins.direct.model.generator().state_dict());
    for (size_t k = 0; k < wanted.size(); ++k) wanted[k] = decay * wanted[k] + (1 - decay) * static_cast<double>(now[k]);
  }
  CHECK(twins.replays() == (on_card() ? 6 : 0));
  for (Training* t : {&twins.graphs, &twins.direct}) {
    const auto found = value(t->step.average()->state_dict());
    for (size_t k = 0; k < wanted.size(); ++k) CHECK(std::abs(found[k] - wanted[k]) < 1e-6);
  }
  {  // In use and back: the graphs stay.
    const nn::UseAverage use(*twins.graphs.step.average());
    CHECK(value(twins.graphs.model.generator().state_dict()) !=
          value(twins.direct.model.generator().state_dict()));
  }
  twins.iterate(5);
  CHECK(twins.replays() == (on_card() ? 2 : 0));
}

TEST_CASE("an encoder's noise is drawn anew in every step") {
  ran();
  Training graphs(true, tiny(true)), direct(false, tiny(true));
  for (uint64_t i = 0; i < 4; ++i) CHECK(graphs.iterate(batch_of(1)) == direct.iterate(batch_of(1)));
  CHECK(graphs.step.replays() == 0);
}

TEST_CASE("ASAP_CUDA_GRAPHS=0 records nothing") {
  ran();
  setenv("ASAP_CUDA_GRAPHS", "0", 1);
  AsapNet model(tiny(), 1);
  model.to(test_device());
  GanStep step(model, OptimizerConfig::defaults(false), 1);
  unsetenv("ASAP_CUDA_GRAPHS");
  for (uint64_t i = 0; i < 3; ++i) step.generator_step(batch_of(i));
  CHECK(step.replays() == 0);
}

TEST_CASE("without first moments a state holds none, and one that has them can be read") {
  ran();
  Variable with = Variable(Tensor::ones({3}, DType::f32, test_device()), true), without(with.value().clone(), true);
  nn::Adam keeps({{"w", with}}, {.beta1 = 0.5}), drops({{"w", without}}, {.beta1 = 0});
  for (Variable* w : {&with, &without}) w->set_grad(Tensor::full({3}, 2, DType::f32, test_device()));
  keeps.step();
  drops.step();
  nn::StateDict state = drops.state_dict();
  CHECK(state.find("step")->item() == 1);
  CHECK(state.find("w.exp_avg") == nullptr);
  REQUIRE(state.find("w.exp_avg_sq"));
  state.set("w.exp_avg", *keeps.state_dict().find("w.exp_avg"));
  drops.load_state_dict(state, "an older file");
  drops.step();
  CHECK(drops.state_dict().find("step")->item() == 2);
  CHECK(drops.state_dict().find("w.exp_avg") == nullptr);
}

}  // namespace asap
