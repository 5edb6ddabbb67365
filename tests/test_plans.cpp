// Every launch of the published models at their real sizes, on cards of several kinds. The launches are made for real, but no
// kernel runs (ASAP_EMULATE_KERNELS=skip): in seconds the emulator looks whether each grid, block, cluster and
// amount of shared memory is one that such a card takes, and the allocator whether the memory is there.
#include <doctest/doctest.h>

#include <cstdlib>

#include "asapnet/model.h"
#include "asapnet/session.h"
#include "cuda/context.h"
#include "cuda/emulate/options.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

using namespace asap;
using namespace asap::asapnet;
using namespace asap::tests;

namespace {

const int kMemory = setenv("ASAP_EMULATE_MEMORY_MIB", "131072", 0);  // only reserved: nothing is written

struct Kind {
  int capability, multiprocessors;
  bool every_variant;  // or those that run by default
};
constexpr Kind kCards[] = {{90, 4, false}, {86, 46, true}, {80, 108, false}, {90, 132, true}, {100, 148, false}};

// A process meets its card once, at its first use; for plans only these numbers matter.
void become(const Kind& kind) {
  emulate::options().kernels_skipped = true;
  emulate::options().capability = kind.capability;
  emulate::options().multiprocessors = kind.multiprocessors;
  auto& card = const_cast<cuda::Card&>(cuda::card());
  card.capability = kind.capability;
  card.multiprocessors = kind.multiprocessors;
  card.shared_bytes = emulate::options().shared_bytes();
}

// Of zeros: what they are does not matter.
std::shared_ptr<Vgg19> vgg() {
  nn::StateDict weights;
  int64_t in = 3, number = 0;
  for (const int64_t out : {64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512}) {
    if (out > 0) {
      const std::string key = str("features.", number);
      weights.set(key + ".weight", Tensor::zeros({out, in, 3, 3}));
      weights.set(key + ".bias", Tensor::zeros({out}));
      in = out;
    }
    number += out > 0 ? 2 : 1;  // a convolution and its ReLU, or a pooling
  }
  return std::make_shared<Vgg19>(weights, false);
}

Config published(const std::string& name) {
  Config config = preset(name == "facades2048" ? "facades1024" : name);
  if (name == "facades2048") config.crop_size = 2048;
  return config;
}

void plan_session(Generator& generator, const SessionOptions& options) {
  InferenceSession session(generator, options);
  session.compute();
  session.fetch();
}

Batch batch_of(const Config& config, int64_t count) {
  const auto zeros = [&](const Shape& shape, DType dtype) { return Tensor::zeros(shape, dtype, Device::cuda); };
  const int64_t h = config.height(), w = config.crop_size;
  return {.labels = zeros({count, h, w}, DType::i32),
          .instance = config.instance_channel() ? zeros({count, 1, h, w}, DType::f32) : Tensor(),
          .image = zeros({count, 3, h, w}, DType::f32)};
}

void plan_training(AsapNet& model, int64_t count) {
  GanStep step(model, OptimizerConfig::defaults(false), 1);
  const Batch batch = batch_of(model.config(), count);
  step.generator_step(batch);
  step.discriminator_step(batch);
}

Precision precision_of(const std::string& variant) {
  return variant.ends_with("_bf16") ? Precision::bf16 : variant.ends_with("_tf32") ? Precision::tf32 : Precision::f32;
}

// On every card, in every precision within `most_bytes` of memory; then on two of them with each variant wherever it runs.
void plan_everywhere(size_t most_bytes, const std::function<void(Precision)>& plan) {
  for (const Kind& kind : kCards) {
    CAPTURE(kind.capability);
    CAPTURE(kind.multiprocessors);
    become(kind);
    for (KernelSlotBase* slot : all_kernel_slots()) slot->forget_last_variant();
    reset_peak_memory(Device::cuda);
    for (const Precision precision : {Precision::f32, Precision::tf32, Precision::bf16}) plan(precision);
    CHECK(memory_use(Device::cuda).peak < most_bytes);
    for (KernelSlotBase* slot : all_kernel_slots()) {
      if (!kind.every_variant || slot->last_variant().empty()) continue;  // not used here
      for (const std::string& variant : slot->variants(Device::cuda)) {
        INFO(slot->name(), "=", variant);
        const ForcedVariant forced(*slot, variant);
        plan(precision_of(variant));
      }
    }
  }
}

constexpr size_t operator""_GiB(unsigned long long n) { return n << 30; }

}  // namespace

TEST_CASE("sessions of all published sizes can be launched on every card") {
  ran();
  for (const std::string name : {"facades256", "facades512", "facades1024", "facades2048", "cityscapes512"}) {
    CAPTURE(name);
    const Config config = published(name);
    Generator generator(config);
    generator.to(Device::cuda);
    plan_everywhere(4_GiB, [&](Precision precision) {
      plan_session(
          generator,
          {.height = config.height(), .width = config.crop_size, .precision = precision, .device = Device::cuda});
    });
  }
}

TEST_CASE("training steps of the published sizes can be launched on every card") {
  ran();
  for (const std::string name : {"facades256", "facades512"}) {
    CAPTURE(name);
    AsapNet model(published(name), 1);
    model.set_vgg(vgg());
    model.to(Device::cuda);
    plan_everywhere(48_GiB, [&](Precision wanted) {
      const ScopedPrecision precision(wanted);
      for (const int64_t count : {1, 8}) plan_training(model, count);
    });
  }
}

TEST_CASE("what does not fit a card is found here") {
  ran();
  Generator generator(published("facades512"));
  become({90, 132, false});
  emulate::options().capability = 86;  // less shared memory than the plans are told of
  const std::string error = error_of([&] {
    plan_session(generator, {.height = 512, .width = 512, .precision = Precision::bf16, .device = Device::cuda});
  });
  CHECK(contains(error, "failed: invalid argument"));
}
