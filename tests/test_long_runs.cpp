// What long runs need: an average of the weights, several batches a step, a rate that rises, the memory they take, where their
// time goes. Tiny runs (tiny_run.h), and the program itself.
#include <doctest/doctest.h>

#include <deque>
#include <map>

#include "nn/checkpoint_file.h"
#include "nn/safetensors.h"
#include "tests/support/program.h"
#include "tests/support/skip.h"
#include "train/infer/generate.h"
#include "train/run/memory_advice.h"
#include "train/run/memory_estimate.h"
#include "train/run/trainer.h"

using namespace asap;
using namespace asap::train;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

const auto never = [] { return false; };

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = read_text(entry.path());
  return files;
}

// Options of the tiny run with data in `folder`.
struct Room {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));

  std::unique_ptr<Trainer> trainer(const std::string& run) {
    Options all = options;
    resolve(all);
    return std::make_unique<Trainer>(all, folder / run, StartMode::fresh);
  }
  fs::path train(const std::string& run) {
    REQUIRE(trainer(run)->train(never) == Outcome::finished);
    return folder / run;
  }
  void train_on(const std::string& run, int64_t steps) {
    Options read;
    options_from_json_file(folder / run / "config.json", read);
    read.train.steps = steps;
    resolve(read);
    Trainer trainer(read, folder / run, StartMode::resume);
    REQUIRE(trainer.train(never) == Outcome::finished);
  }
};

std::vector<double> rates(const fs::path& run) {
  std::vector<double> rates;
  for (const LogEntry& entry : read_log(run / "log.jsonl")) rates.push_back(entry.lr);
  return rates;
}

double difference(const nn::StateDict& a, const nn::StateDict& b) {
  double most = 0;
  for (const auto& [key, tensor] : a) most = std::max(most, max(abs(sub(tensor, *b.find(key)))).item());
  return most;
}

}  // namespace

TEST_CASE("stopped and resumed equals uninterrupted to the last byte: average, accumulation, warm-up") {
  ran();
  Room room;
  room.options.train.batchSize = 1;
  room.options.train.steps = 5;
  room.options.train.warmup_steps = 3;
  room.options.train.ema = 0.99;
  SUBCASE("two batches a step, of six in an epoch") { room.options.train.accumulate = 2; }
  SUBCASE("four, and two are left over") { room.options.train.accumulate = 4; }
  SUBCASE("two discriminator steps for one of the generator, the encoder") {
    room.options.train.accumulate = 2;
    room.options.train.D_steps_per_G = 2;
    room.options.model.use_vae = true;
  }
  const fs::path whole = room.train("whole");
  room.options.train.steps = 2;
  const fs::path parts = room.train("parts");
  room.train_on("parts", 5);
  const auto wanted = contents(latest_checkpoint(whole)), found = contents(latest_checkpoint(parts));
  REQUIRE(wanted.contains("G_ema.safetensors"));
  CHECK(contains(wanted.at("trainer.json"), "\"G_ema.safetensors\": \""));  // its checksum
  for (const auto& [name, bytes] : wanted) {
    CAPTURE(name);
    CHECK(found.at(name) == bytes);
  }
  CHECK(rates(whole) == rates(parts));
  CHECK(contents(whole / "samples").at("step_000005.png") == contents(parts / "samples").at("step_000005.png"));
}

TEST_CASE("two batches of one picture a step train as one batch of two") {
  ran();
  Room room;
  room.options.train.steps = 3;
  room.options.train.batchSize = 2;
  const fs::path large = latest_checkpoint(room.train("large"));
  room.options.train.batchSize = 1;
  room.options.train.accumulate = 2;
  const fs::path parts = latest_checkpoint(room.train("parts"));
  // Spectral norm's vectors too. Weights move by about 1e-4 a step; Adam without moments divides small gradients by themselves.
  for (const char* file : {"G.safetensors", "D.safetensors"})
    CHECK(difference(nn::read_state_dict(large / file), nn::read_state_dict(parts / file)) < 1e-4);
  CHECK(read_trainer_state(large).batches_per_epoch == read_trainer_state(parts).batches_per_epoch);
  room.options.train.accumulate = 7;
  CHECK(error_of([&] { room.trainer("more"); }) == "train: --accumulate 7, but the data makes only 6 batches of 1");
}

TEST_CASE("the rate rises evenly over the first steps, on top of its schedule") {
  ran();
  Room room;
  room.options.train.warmup_steps = 4;
  const double lr = room.options.train.lr;
  CHECK(rates(room.train("run")) == std::vector<double>{lr * 1 / 4, lr * 2 / 4, lr * 3 / 4, lr, lr, lr});
  room.options.train.niter = 1, room.options.train.niter_decay = 2;  // falls behind 2 epochs of 2 steps
  CHECK(rates(room.train("falling")) == std::vector<double>{lr * 1 / 4, lr * 2 / 4, lr * 3 / 4, lr, lr / 2, lr / 2});
}

TEST_CASE("the average is what a run's folder means, and the last step's weights can be had") {
  ran();
  Room room;
  room.options.train.ema = 0.999;
  room.options.train.keep_checkpoints = true;
  const fs::path run = room.train("run"), last = latest_checkpoint(run);
  const fs::path average = last / "G_ema.safetensors", weights = last / "G.safetensors";
  CHECK(nn::CheckpointFile(average).contents().metadata().at("config") ==
        nn::CheckpointFile(weights).contents().metadata().at("config"));
  const nn::StateDict mean = nn::read_state_dict(average), now = nn::read_state_dict(weights);
  CHECK(mean.size() == now.size());
  CHECK(difference(mean, now) > 0);
  // By TensorFlow's rule a short run's average has forgotten its start: it lies by the last steps.
  asapnet::AsapNet fresh(room.options.model, static_cast<uint64_t>(room.options.train.seed));
  CHECK(difference(mean, now) < difference(mean, fresh.generator().state_dict()) / 2);
  const Wishes none{[](Options&) {}, [](const OptionField& field) { return field.flag; }};
  for (const fs::path& folder : {run, last}) {
    const WeightSource source = find_weights(folder, none);
    CHECK(source.generator == average);
    REQUIRE(source.assumed.size() == 1);
    CHECK(contains(source.assumed[0], "the average of the generator's weights"));
    CHECK(contains(source.assumed[0], weights.string()));
  }
  CHECK(find_weights(weights, none).generator == weights);
  CHECK(find_weights(weights, none).assumed.empty());

  const std::vector<std::string> label{"--labels", text(room.folder / "data" / "base" / "cmp_b0001.png"), "--out"};
  const auto picture = [&](const fs::path& from, const std::string& name) {
    const fs::path out = room.folder / name;
    const Result made = tests::run({"generate", "--weights", text(from), label[0], label[1], label[2], text(out)});
    CAPTURE(made.error);
    REQUIRE(made.code == 0);
    CHECK(contains(made.error, "assumed the average") == (from == run));
    return read_text(out / "cmp_b0001.png");
  };
  CHECK(picture(run, "a") == picture(average, "b"));
  CHECK(picture(run, "a") != picture(weights, "c"));
  const Result listed = tests::run({"inspect", text(run)});
  CHECK(contains(listed.out, "G_ema.safetensors"));
  const Result converted = tests::run({"convert", text(run), text(room.folder / "c.safetensors")});
  CHECK(contains(converted.error, "assumed the average of the generator's weights, " + text(average)));
  CHECK(read_text(room.folder / "c.safetensors") == read_text(average));
  // Damage is noticed, and a run without an average says nothing.
  write_text(average, read_text(average).replace(2000, 1, "\x7f"));
  CHECK(contains(error_of([&] { room.train_on("run", 7); }), average.string() + ": damaged"));
  CHECK(contains(error_of([&] { find_weights(run, none); }), "damaged"));
  room.options.train.ema = 0;
  const fs::path plain = room.train("plain");
  CHECK(find_weights(plain, none).assumed.empty());
  CHECK_FALSE(fs::exists(latest_checkpoint(plain) / "G_ema.safetensors"));
}

TEST_CASE("samples show the average") {
  ran();
  Room room;
  room.options.train.steps = 1;
  room.options.train.lr = 0.5;  // so that one step shows
  const fs::path plain = room.train("plain");
  room.options.train.ema = 0.999;
  const fs::path average = room.train("average");
  CHECK(contents(latest_checkpoint(plain)).at("G.safetensors") ==
        contents(latest_checkpoint(average)).at("G.safetensors"));
  CHECK(contents(plain / "samples") != contents(average / "samples"));
}

TEST_CASE("settings that cannot be") {
  ran();
  Room room;
  const auto refused = [&](auto TrainOptions::*field, auto value) {
    Options wrong = room.options;
    wrong.train.*field = value;
    return error_of([&] { resolve(wrong); });
  };
  CHECK(refused(&TrainOptions::ema, 1.0) == "config: ema is 1; it must be at least 0 and below 1");
  CHECK(refused(&TrainOptions::accumulate, int64_t{0}) == "config: accumulate is 0; it must be at least 1");
  CHECK(refused(&TrainOptions::warmup_steps, int64_t{-1}) == "config: warmup_steps is -1; it must be at least 0");
  room.options.train.steps = 1;
  room.train("run");
  for (const char* flag : {"--ema", "--accumulate", "--warmup-steps"})
    check_refused({"train", "--resume", text(room.folder / "run"), flag, "0.5"}, 2,
                  {"cannot change when a run is resumed"});
}

TEST_CASE("the estimate of a step's memory is what its tensors hold at the peak, within 15 %") {
  if (test_device() != Device::cpu) return;
  ran();
  std::deque<ForcedVariant> plain;
  Options options;
  options.model = tiny_model();
  options.model.crop_size = 128;  // so that pictures count beside the weights
  options.train.batchSize = 2;
  SUBCASE("f32") {}
  SUBCASE("bf16, by kernels that take no memory of their own, which would be more than these pictures") {
    options.train.precision = "bf16";
    for (KernelSlotBase* slot : all_kernel_slots()) plain.emplace_back(*slot, "naive");
  }
  SUBCASE("an average, four batches a step") {
    options.train.ema = 0.999;
    options.train.accumulate = 4;
  }
  SUBCASE("first moments, an encoder that is used") {
    options.train.no_TTUR = true;
    options.model.use_vae = options.model.condition_on_z = true;
  }
  SUBCASE("RGB input beside instances, larger batch") {
    options.model.no_one_hot = true;
    options.model.no_instance_edge = false;
    options.train.batchSize = 5;
  }
  const MemoryEstimate estimate = estimate_memory(options);

  release_cached_memory(Device::cpu);
  const size_t before = memory_use(Device::cpu).current;
  asapnet::AsapNet model(options.model, 1);
  asapnet::GanStep gan(model, asapnet::OptimizerConfig::defaults(options.train.no_TTUR), 1);
  if (options.train.ema > 0) gan.keep_average(options.train.ema);
  const ScopedPrecision precision(parse_precision(options.train.precision));
  const int64_t n = options.train.batchSize;
  std::vector<asapnet::Batch> parts;
  for (int64_t i = 0; i < options.train.accumulate; ++i) {
    asapnet::Batch batch;
    batch.labels =
        options.model.no_one_hot ? Tensor::zeros({n, 3, 128, 128}) : Tensor::zeros({n, 128, 128}, DType::i32);
    if (options.model.instance_channel()) batch.instance = Tensor::zeros({n, 1, 128, 128});
    batch.image = Tensor::zeros({n, 3, 128, 128});
    parts.push_back(batch);
  }
  for (int i = 0; i < 3; ++i) {
    if (i == 1) reset_peak_memory(Device::cpu);
    gan.generator_step(parts);
    gan.discriminator_step(parts);
  }
  const auto peak = static_cast<double>(memory_use(Device::cpu).peak - before);
  CAPTURE(peak);
  CAPTURE(estimate.peak());
  CHECK(estimate.peak() > 0.85 * peak);
  CHECK(estimate.peak() < 1.15 * peak);
  CHECK(estimate.weights > 0);
  CHECK(estimate.activations > estimate.optimizer);
}

TEST_CASE("--dry-run says what would be done, and writes nothing") {
  ran();
  Room room;
  const fs::path config = room.folder / "tiny.json", out = room.folder / "run";
  write_text(config, options_to_json(room.options));
  const Result result =
      tests::run({"train", "--config", text(config), "--out", text(out), "--dry-run", "--batch-size", "2"});
  CHECK(result.code == 0);
  for (const char* part :
       {"needs about ", " MiB: weights ", "gradients and moments ", "activations ", "freed and kept ",
        "the machine has ", "  batchSize = 2\n", "would train in ", "steps 0 to 6, 3 an epoch"})
    CHECK(contains(result.out, part));
  CHECK_FALSE(fs::exists(out));
  const fs::path none = room.folder / "none";
  check_refused({"train", "--config", text(config), "--out", text(out), "--dry-run", "--data", text(none)}, 1,
                {"none"});
}

TEST_CASE("a training that surely does not fit is told so") {
  ran();
  Options options{.model = asapnet::preset("facades1024"), .train = {}};
  options.model.no_one_hot = options.model.no_vgg_loss = true;
  options.train.batchSize = 1024;
  CHECK(memory_need(options).too_large);
  options.train.batchSize = 1;
  const MemoryNeed need = memory_need(options);
  CAPTURE(need.text);
  CHECK(contains(need.text, "MiB: weights 332, gradients and moments 665, activations "));  // 87 million parameters
  CHECK_FALSE(memory_need({.model = tiny_model(), .train = {}}).too_large);
}

TEST_CASE("a run tells its speed and where its time went, and records steps if asked to") {
  ran();
  Room room;
  const fs::path config = room.folder / "tiny.json", out = room.folder / "run";
  write_text(config, options_to_json(room.options));
  const Result result =
      tests::run({"train", "--config", text(config), "--out", text(out), "--print-every", "1", "--profile", "2"});
  CAPTURE(result.out);
  CHECK(result.code == 0);
  for (const char* part : {" pictures/s: loading ", " %, generator ", " %, discriminator ", " %, saving ",
                           "steps recorded: 2", "kernel\n", "conv2d_forward="})
    CHECK(contains(result.out, part));
  CHECK(contains(read_text(out / "profile.json"), "\"traceEvents\""));
  const Result shorter = tests::run(
      {"train", "--config", text(config), "--out", text(room.folder / "short"), "--steps", "2", "--profile", "2"});
  CHECK(contains(shorter.error, "--profile 2: nothing was recorded, since the run ended after 2 steps"));
  CHECK_FALSE(fs::exists(room.folder / "short" / "profile.json"));
}
