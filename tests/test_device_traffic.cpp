// What crosses between host and device: one small copy in each training step, nothing in a forward pass, and never a
// device pointer on the host. On the stand-in of support/fenced_device.h, so it needs no GPU; a whole training run on it
// must equal the CPU's to the byte.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <limits>

#include "asapnet/model.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "nn/spectral_norm.h"
#include "tests/support/fenced_device.h"
#include "tests/support/tiny_run.h"
#include "train/run/checkpoint.h"
#include "train/run/trainer.h"

namespace asap {
namespace {

using namespace asapnet;
using namespace tests;
namespace fs = std::filesystem;

using Floats = std::vector<float>;
Floats floats(const Tensor& x) { return x.to_vector<float>(); }

// Every loss, the encoder, an instance channel and a fixed downsampling of 2.
Config everything() {
  Config config = preset("quick");
  config.label_nc = 4;
  config.crop_size = 64;
  config.learned_ds_factor = 2;
  config.lr_width = 4;
  config.lr_max_width = 8;
  config.lr_depth = 1;
  config.hr_width = 4;
  config.hr_depth = 2;
  config.ndf = 4;
  config.ndf_max = 8;
  config.ngf = 2;
  config.z_dim = 4;
  config.use_vae = config.condition_on_z = true;
  config.no_instance_edge = false;
  config.lr_instance = true;
  config.lambda_L1 = 100;
  config.lambda_MSE = 10;
  config.lambda_phi = 1e-8;
  config.no_vgg_loss = false;
  return config;
}

// A VGG-19 of two channels a layer.
std::shared_ptr<Vgg19> narrow_vgg() {
  nn::StateDict weights;
  int64_t in = 3;
  for (const int number : {0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28}) {
    const std::string key = "features." + std::to_string(number);
    weights.set(key + ".weight", random_normal({2, in, 3, 3}, {.seed = static_cast<uint64_t>(number), .b = 0.3}));
    weights.set(key + ".bias", Tensor::zeros({2}));
    in = 2;
  }
  return std::make_shared<Vgg19>(weights, true);
}

Batch random_batch(const Config& config, Device device) {
  const int64_t h = config.height(), w = config.crop_size;
  Batch batch;
  batch.labels = random_uniform({2, h, w}, {.seed = 1, .b = 4}).to(DType::i32).to(device);
  batch.instance = random_uniform({2, 1, h, w}, {.seed = 2, .b = 2}).to(DType::i32).to(DType::f32).to(device);
  batch.image = random_uniform({2, 3, h, w}, {.seed = 3, .a = -1}).to(device);
  return batch;
}

struct Training {
  AsapNet model;
  GanStep step;
  Batch batch;
  explicit Training(Device device)
      : model(everything(), 1),
        step(model, OptimizerConfig::defaults(false), 1),
        batch(random_batch(everything(), device)) {
    model.set_vgg(narrow_vgg());
    model.to(device);
  }
};

void check_no_traffic() {
  CHECK(traffic().to_host == 0);
  CHECK(traffic().from_host == 0);
  CHECK(traffic().synchronized == 0);
}

// Runs one step and checks that the losses' copy is all that crossed, and that Adam was one call.
template <class Step>
auto watched(Step&& step) {
  reset_traffic();
  auto result = step();
  CHECK(traffic().to_host == 1);
  CHECK(traffic().bytes_to_host == result.size() * sizeof(float));
  CHECK(traffic().from_host == 0);
  CHECK(traffic().synchronized == 0);
  CHECK(traffic().kernels.at("adam") == 1);
  return result;
}

bool dies(void (*touch)(const float*), const float* place) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);
    touch(place);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

void read_one(const float* place) { [[maybe_unused]] volatile float value = *place; }

}  // namespace

TEST_CASE("the stand-in notices a host that follows a device pointer") {
  use_fenced_device();
  const Tensor there = Tensor::ones({3}, DType::f32, Device::cuda), here = Tensor::ones({3});
  CHECK(dies(read_one, there.data<float>()));
  CHECK_FALSE(dies(read_one, here.data<float>()));
  CHECK(floats(there) == Floats{1, 1, 1});
}

TEST_CASE("a training step reads its losses from the device in one copy and nothing else crosses") {
  use_fenced_device();
  Training on_cpu(Device::cpu), on_device(Device::cuda);
  for (int i = 0; i < 3; ++i) {
    CAPTURE(i);
    const LossValues wanted_G = on_cpu.step.generator_step(on_cpu.batch);
    const LossValues wanted_D = on_cpu.step.discriminator_step(on_cpu.batch);
    if (i == 0) {  // the first step also places the constants
      CHECK(on_device.step.generator_step(on_device.batch) == wanted_G);
      CHECK(on_device.step.discriminator_step(on_device.batch) == wanted_D);
      continue;
    }
    CHECK(watched([&] { return on_device.step.generator_step(on_device.batch); }) == wanted_G);
    CHECK(watched([&] { return on_device.step.discriminator_step(on_device.batch); }) == wanted_D);
    CHECK(wanted_G.size() == 7);
  }
  const auto wanted = on_cpu.model.generator().named_parameters();
  const auto found = on_device.model.generator().named_parameters();
  for (size_t i = 0; i < wanted.size(); ++i) {
    CAPTURE(wanted[i].first);
    CHECK(found[i].second.device() == Device::cuda);
    CHECK(floats(found[i].second.value()) == floats(wanted[i].second.value()));
  }
}

TEST_CASE("a loss that is not finite stops the step on a device too, before any weight changes") {
  use_fenced_device();
  Training training(Device::cuda);
  Tensor image = training.batch.image.to(Device::cpu);
  image.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  Batch bad = training.batch;
  bad.image = image.to(Device::cuda);
  std::vector<Floats> before, after;
  for (const Variable& p : training.model.generator().parameters()) before.push_back(floats(p.value()));
  CHECK(contains(error_of([&] { training.step.generator_step(bad); }), "the loss GAN"));
  for (const Variable& p : training.model.generator().parameters()) after.push_back(floats(p.value()));
  CHECK(after == before);
  // The gradients of the refused step are not in the next one's.
  for (const auto& [name, value] : training.step.discriminator_step(training.batch)) CHECK(std::isfinite(value));
  training.step.generator_step(training.batch);
  for (const Variable& p : training.model.generator().parameters()) {
    CHECK(std::isfinite(sum(p.value()).item()));
  }
}

TEST_CASE("nothing crosses in a forward pass") {
  use_fenced_device();
  const Tensor x = random_normal({2, 3, 8, 8}, {.seed = 1}, DType::f32, Device::cuda);
  SUBCASE("inference") {
    Training training(Device::cuda);
    const Tensor z = Tensor::zeros({2, 4}, DType::f32, Device::cuda);
    training.model.inference(training.batch, z);  // places the constants
    reset_traffic();
    training.model.inference(training.batch, z);
    training.model.encode(training.batch.image);
    check_no_traffic();
  }
  SUBCASE("spectral norm") {
    nn::SpectralConv2d conv({.in = 3, .out = 4, .kernel = 3});
    conv.to(Device::cuda);
    reset_traffic();
    conv.forward(x);
    check_no_traffic();
    CHECK(traffic().kernels == std::map<std::string, int64_t>{{"matmul", 5}, {"unary", 4}, {"binary", 3}, {"copy", 2}, {"conv2d_forward", 1}});
  }
  SUBCASE("batch norm, whose count goes on") {
    nn::BatchNorm2d norm(3);
    norm.to(Device::cuda);
    reset_traffic();
    norm.forward(x);
    norm.forward(x);
    check_no_traffic();
    CHECK(norm.state_dict().find("num_batches_tracked")->item() == 2);
  }
}

TEST_CASE("initial weights drawn on a device are the CPU's") {
  use_fenced_device();
  using Initialise = void (*)(Tensor&, double, RandomStream&);
  const auto drawn = [](Device device, Initialise initialise) {
    RandomStream random{.seed = 5};
    Tensor w = Tensor::empty({4, 3, 2, 2}, DType::f32, device);
    initialise(w, 0.5, random);
    return w;
  };
  for (const Initialise initialise : {nn::init::xavier_normal, nn::init::kaiming_normal}) {
    CHECK(floats(drawn(Device::cuda, initialise)) == floats(drawn(Device::cpu, initialise)));
  }
  reset_traffic();
  drawn(Device::cuda, nn::init::xavier_normal);
  check_no_traffic();
}

namespace {

void run_training(train::Options options, const fs::path& run, train::StartMode mode) {
  resolve(options);
  train::Trainer trainer(options, run, mode);
  REQUIRE(trainer.train([] { return false; }) == train::Outcome::finished);
}

}  // namespace

TEST_CASE("a run on a device, stopped and resumed, writes the CPU's checkpoint and samples to the byte") {
  use_fenced_device();
  ScratchFolder folder;
  train::Options options = tiny_options(make_tiny_data(folder / "data"));
  options.model.use_vae = options.model.condition_on_z = true;
  options.train.steps = 4;
  run_training(options, folder / "cpu", train::StartMode::fresh);
  options.train.device = "cuda";
  options.train.steps = 2;
  run_training(options, folder / "device", train::StartMode::fresh);
  options.train.steps = 4;
  run_training(options, folder / "device", train::StartMode::resume);
  const fs::path wanted = train::latest_checkpoint(folder / "cpu"), found = train::latest_checkpoint(folder / "device");
  for (const auto& entry : fs::directory_iterator(wanted)) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    CHECK(read_text(entry.path()) == read_text(found / name));
  }
  CHECK(read_text(folder / "cpu" / "samples" / "step_000004.png") ==
        read_text(folder / "device" / "samples" / "step_000004.png"));
}

}  // namespace asap
