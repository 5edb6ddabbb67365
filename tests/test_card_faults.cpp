// What goes wrong with cards, on the emulated one: none there, too little memory, too old for a variant, tensors on two
// devices. Each case runs in a child process, since a process meets its card once.
#include <doctest/doctest.h>

#include <iostream>

#include "autograd/ops.h"
#include "cuda/context.h"
#include "tensor/precision.h"
#include "tests/support/child.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"
#include "train/run/checkpoint.h"
#include "train/run/memory_advice.h"
#include "train/run/trainer.h"

using namespace asap;
using namespace asap::tests;

namespace {

void convolve(Precision wanted) {
  const ScopedPrecision precision(wanted);
  const Tensor x = Tensor::ones({1, 64, 12, 12}, DType::f32, Device::cuda),
               w = Tensor::ones({64, 64, 3, 3}, DType::f32, Device::cuda);
  for (int i = 0; i < 3; ++i) conv2d(x, w, Tensor(), {});
  std::cerr << "ran " << kernels::conv2d_forward.last_variant();
}

}  // namespace

TEST_CASE("no card: one sentence that says so and what to do") {
  ran();
  const std::string text = in_child("ASAP_EMULATE_DEVICES", "0", [] { Tensor::zeros({1}, DType::f32, Device::cuda); });
  CHECK(contains(text, "device: cuda is not available: the NVIDIA driver finds no card"));
  CHECK(contains(text, "use the cpu"));
}

TEST_CASE("too little memory: the error names bytes asked and free, and the program goes on") {
  const std::string text = in_child("ASAP_EMULATE_MEMORY_MIB", "8", [] {
    try {
      Tensor::empty({4 << 20}, DType::f32, Device::cuda);
    } catch (const OutOfMemory& error) {
      std::cerr << error.what() << " asked " << error.asked() << "\n";
    }
    std::cerr << Tensor::full({1 << 18}, 2, DType::f32, Device::cuda).to_vector<float>().back();
  });
  CHECK(contains(text, "could not get 16 MiB on the cuda device: 8 of 8 MiB are free"));
  CHECK(contains(text, "asked 16777216\n2"));
}

TEST_CASE("cached blocks are given back before memory counts as used up") {
  const std::string text = in_child("ASAP_EMULATE_MEMORY_MIB", "8", [] {
    for (int64_t mib = 1; mib <= 6; ++mib)
      Tensor::empty({mib << 18}, DType::f32, Device::cuda);  // sizes that do not share blocks
    std::cerr << "all fitted";
  });
  CHECK(text == "all fitted");
}

TEST_CASE("a run that no longer fits: smaller settings are named, the last checkpoint stays") {
  ScratchFolder folder;
  const auto run = folder / "run";
  train::Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.device = "cuda";
  options.train.steps = 2;
  train::resolve(options);
  in_child("ASAP_EMULATE_MEMORY_MIB", "512",
           [&] { train::Trainer(options, run, train::StartMode::fresh).train([] { return false; }); });
  const std::string weights = read_text(train::latest_checkpoint(run) / "G.safetensors");
  REQUIRE(!weights.empty());
  options.train.steps = 4;
  const std::string text = in_child("ASAP_EMULATE_MEMORY_MIB", "1", [&] {
    train::Trainer(options, run, train::StartMode::resume).train([] { return false; });
  });
  CHECK(contains(text, "MiB on the cuda device"));
  CHECK(contains(text, "training needs about "));  // no smaller setting of this tiny run fits a mebibyte
  CHECK(contains(text, "step_000002"));
  CHECK(read_text(train::latest_checkpoint(run) / "G.safetensors") == weights);
}

TEST_CASE("a card too old is refused by its capability") {
  const auto convolve_in_bf16 = [] { convolve(Precision::bf16); };
  for (const char* capability : {"80", "90", "100"}) {
    const std::string text = in_child("ASAP_EMULATE_CAPABILITY", capability, convolve_in_bf16);
    CHECK(contains(text, "ran "));
    CHECK(contains(text, "bf16"));
  }
  const std::string old = in_child("ASAP_EMULATE_CAPABILITY", "75", convolve_in_bf16);
  CHECK(contains(old, "compute capability 7.5, and 8.0 is the oldest"));
}

TEST_CASE("tensors on two devices: nothing is moved silently") {
  const std::string text = in_child("ASAP_EMULATE_DEVICES", "1", [] {
    const Tensor here = Tensor::ones({4}), there = Tensor::ones({4}, DType::f32, Device::cuda);
    try {
      add(here, there);
    } catch (const Error& error) {
      std::cerr << error.what() << "\n";
    }
    tile_mlp({}, Tensor::ones({1, 1, 2, 2}), Tensor::ones({1, 8, 1, 1}, DType::f32, Device::cuda),
             {.tile = 2, .width = 1, .depth = 1, .out = 1});
  });
  CHECK(contains(text, "add: expected both on one device, got cpu and cuda; move one with to(Device)"));
  CHECK(contains(text, "tile_mlp: x is on cpu, but phi on cuda"));
}

TEST_CASE("estimates: the published settings, and what fits a small card") {
  train::Options options{.model = asapnet::preset("facades512"), .train = {}};
  options.train.batchSize = 8;
  const double gib = 1024.0 * 1024.0 * 1024.0;
  CHECK(train::training_bytes(options, 1, 512) > 1.9 * gib);  // measured on the CPU: 2.1 GiB
  CHECK(train::training_bytes(options, 1, 512) < 2.3 * gib);
  const std::string text = train::smaller_settings(options, size_t{8} << 30);
  CHECK(contains(text, "--batch-size 5 or --crop-size 256 would fit in 8192 MiB"));
}

TEST_CASE("an index of max pooling that lies elsewhere finds no pixel") {
  const std::string text = in_child("ASAP_EMULATE_MULTIPROCESSORS", "132", [] {
    for (const std::string& variant : kernels::max_pool2d_backward.variants(Device::cuda)) {
      const ForcedVariant forced(kernels::max_pool2d_backward, variant);
      for (const int index : {999999, -1, 32}) {
        const Tensor at = Tensor::full({1, 1, 2, 4}, index, DType::i32, Device::cuda);
        const Tensor dx = max_pool2d_backward(Tensor::ones({1, 1, 2, 4}, DType::f32, Device::cuda), at, {1, 1, 4, 8}, {});
        const bool is_zero = dx.to(Device::cpu).to_vector<float>() == std::vector<float>(32, 0.0f);
        std::cerr << kernels::max_pool2d_backward.last_variant() << (is_zero ? " nothing; " : " something; ");
      }
    }
  });
  for (const std::string& variant : kernels::max_pool2d_backward.variants(Device::cuda))
    CHECK(contains(text, variant + " nothing; " + variant + " nothing; " + variant + " nothing; "));
  CHECK(contains(text, "nothing"));
  CHECK_FALSE(contains(text, "something"));
  ran();
}
