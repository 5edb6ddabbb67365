// Training as a whole on a tiny model: a stopped and resumed run equals an uninterrupted one to the last byte, and
// whatever goes wrong leaves a run that can go on.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <map>

#include "nn/checkpoint_file.h"
#include "nn/safetensors.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"
#include "train/options/config_json.h"
#include "train/pictures/image_files.h"
#include "train/run/chart.h"
#include "train/run/trainer.h"

using namespace asap;
using namespace asap::train;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

const auto never = [] { return false; };

Options resolved(Options options) {
  resolve(options);
  return options;
}

// Every file of a folder by name.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder))
    files[entry.path().filename().string()] = read_text(entry.path());
  return files;
}

void train_fresh(const Options& options, const fs::path& run) {
  Trainer trainer(resolved(options), run, StartMode::fresh);
  REQUIRE(trainer.train(never) == Outcome::finished);
}

// Resumes with the run's own options, but `steps`.
void train_on(const fs::path& run, int64_t steps) {
  Options options;
  options_from_json_file(run / "config.json", options);
  options.train.steps = steps;
  Trainer trainer(resolved(options), run, StartMode::resume);
  REQUIRE(trainer.train(never) == Outcome::finished);
}

void check_equal_runs(const fs::path& a, const fs::path& b) {
  const auto files_a = contents(latest_checkpoint(a)), files_b = contents(latest_checkpoint(b));
  REQUIRE(files_a.size() == files_b.size());
  for (const auto& [name, bytes] : files_a) {
    CAPTURE(name);
    CHECK(bytes == files_b.at(name));
  }
  const auto log_a = read_log(a / "log.jsonl"), log_b = read_log(b / "log.jsonl");
  REQUIRE(log_a.size() == log_b.size());
  for (size_t i = 0; i < log_a.size(); ++i) {
    CHECK(log_a[i].step == static_cast<int64_t>(i) + 1);
    CHECK(log_b[i].step == log_a[i].step);
    CHECK(log_b[i].epoch == log_a[i].epoch);
    CHECK(log_b[i].losses == log_a[i].losses);
    CHECK(log_b[i].lr == log_a[i].lr);
  }
}

}  // namespace

TEST_CASE("3 steps, then 3 more by resuming, equal 6 steps to the last byte") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  SUBCASE("the published defaults") {}
  SUBCASE("two threads") { options.train.threads = 2; }
  SUBCASE("a falling rate, two D steps per G step") {
    options.train.niter = 1;
    options.train.niter_decay = 3;
    options.train.D_steps_per_G = 2;
  }
  SUBCASE("the encoder and its noise") {
    options.model.use_vae = options.model.condition_on_z = true;
    options.train.batchSize = 2;
  }
  train_fresh(options, folder / "whole");
  options.train.steps = 3;
  options.train.nThreads = 1;
  train_fresh(options, folder / "parts");
  train_on(folder / "parts", 6);
  check_equal_runs(folder / "whole", folder / "parts");
  CHECK(contents(folder / "whole" / "samples").at("step_000006.png") ==
        contents(folder / "parts" / "samples").at("step_000006.png"));
  ran();
}

TEST_CASE("a seed makes the run; another seed another") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.steps = 2;
  train_fresh(options, folder / "a");
  train_fresh(options, folder / "b");
  options.train.seed = 8;
  train_fresh(options, folder / "c");
  check_equal_runs(folder / "a", folder / "b");
  CHECK(contents(latest_checkpoint(folder / "a")).at("G.safetensors") !=
        contents(latest_checkpoint(folder / "c")).at("G.safetensors"));
}

TEST_CASE("a run holds what trainer.h says") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.sample_every = {3, false};
  options.train.samples = 2;
  const fs::path run = folder / "run";
  train_fresh(options, run);

  Options read;
  options_from_json_file(run / "config.json", read);
  CHECK(options_to_json(read) == options_to_json(resolved(options)));
  const auto log = read_log(run / "log.jsonl");
  REQUIRE(log.size() == 6);
  CHECK(log[2].epoch == 2);  // 2 batches an epoch
  std::vector<std::string> names;
  for (const auto& [name, value] : log[0].losses) names.push_back(name);
  CHECK(names == std::vector<std::string>{"GAN", "GAN_Feat", "D_Fake", "D_real"});
  CHECK(log[0].lr == 2e-4);
  CHECK(log[0].seconds > 0);

  const auto metadata = nn::CheckpointFile(latest_checkpoint(run) / "G.safetensors").contents().metadata();
  CHECK(metadata.at("config") == config_to_json(options.model));
  CHECK(contains(metadata.at("config"), "\"crop_size\":32"));
  const Image grid = read_photo(run / "samples" / "step_000003.png");
  CHECK(grid.width == 3 * 32 + 2 * 4);
  CHECK(grid.height == 2 * 32 + 4);

  const std::string report = read_text(run / "report.html");
  CHECK(contains(report, "<svg"));
  CHECK(contains(report, "GAN_Feat"));
  CHECK(contains(report, "data:image/png;base64,"));
  CHECK(contains(report, "learned_ds_factor"));
  for (const char* outside : {"http:", "https:", "<link", "src=\"/", "@import"}) CHECK_FALSE(contains(report, outside));
}

TEST_CASE("only the latest checkpoint stays, unless all are wanted") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.save_every = {2, false};
  train_fresh(options, folder / "latest");
  CHECK(contents(folder / "latest" / "checkpoints" / "step_000006").size() == 5);
  CHECK_FALSE(fs::exists(folder / "latest" / "checkpoints" / "step_000004"));
  options.train.keep_checkpoints = true;
  train_fresh(options, folder / "all");
  for (const char* step : {"step_000002", "step_000004", "step_000006"})
    CHECK(fs::exists(folder / "all" / "checkpoints" / step / "trainer.json"));
}

TEST_CASE("stopping on request saves and can go on") {
  ScratchFolder folder;
  const Options options = tiny_options(make_tiny_data(folder / "data"));
  {
    Trainer trainer(resolved(options), folder / "stopped", StartMode::fresh);
    CHECK(trainer.train([&] { return trainer.step() == 4; }) == Outcome::interrupted);
    CHECK(trainer.step() == 4);
  }
  CHECK(latest_checkpoint(folder / "stopped").filename() == "step_000004");
  train_on(folder / "stopped", 6);
  train_fresh(options, folder / "whole");
  check_equal_runs(folder / "whole", folder / "stopped");
}

TEST_CASE("after a crash in the middle of saving, the run goes on from the checkpoint before") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  train_fresh(options, folder / "whole");
  options.train.steps = 3;
  const fs::path run = folder / "crashed";
  train_fresh(options, run);
  // What the crash left: steps that were logged, the last line torn, and a half-written folder.
  std::string log = read_text(run / "log.jsonl");
  write_text(run / "log.jsonl", log + log.substr(log.rfind("{\"step\":3"), 20));
  std::string step4 = log.substr(log.rfind("{\"step\":3"));
  step4.replace(8, 1, "4");
  write_text(run / "log.jsonl", log + step4 + "{\"step\":5,\"epo");
  fs::create_directories(run / "checkpoints" / "step_000006");
  write_text(run / "checkpoints" / "step_000006" / "G.safetensors", "half");
  train_on(run, 6);
  check_equal_runs(folder / "whole", run);
}

TEST_CASE("a loss that is not finite ends the run, names loss and step, and keeps the last good checkpoint") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.steps = 2;
  const fs::path run = folder / "run";
  train_fresh(options, run);
  const fs::path checkpoint = latest_checkpoint(run);
  // As before checkpoints held the settings: a learning rate that breaks everything at once can be set.
  write_text(checkpoint / "trainer.json",
             R"({"step": 2, "batches_per_epoch": 2, "noise_seed": 1, "noise_offset": 0, "lr": 0.0002})");
  const auto before = contents(checkpoint);
  options.train.steps = 6;
  options.train.lr = 1e30;
  std::string error;
  {
    Trainer trainer(resolved(options), run, StartMode::resume);
    error = error_of([&] { trainer.train(never); });
  }
  CHECK(contains(error, "step 3: "));
  CHECK(contains(error, "the loss "));
  CHECK(contains(error, "the last good checkpoint is " + checkpoint.string()));
  CHECK(latest_checkpoint(run) == checkpoint);
  CHECK(contents(checkpoint) == before);
}

TEST_CASE("a picture that breaks during the run: what was learned is saved, and resuming goes on once it is mended") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.serial_batches = true;
  train_fresh(options, folder / "whole");
  const fs::path run = folder / "run", photo = folder / "data" / "base" / "cmp_b0007.jpg";  // in the second batch
  const std::string good = read_text(photo);
  write_text(photo, good.substr(0, good.size() / 2));
  std::string error;
  {
    Trainer trainer(resolved(options), run, StartMode::fresh);
    error = error_of([&] { trainer.train(never); });
  }
  CHECK(contains(error, "cmp_b0007.jpg"));
  CHECK(contains(error, "saved after step 1"));
  write_text(photo, good);
  train_on(run, 6);
  check_equal_runs(folder / "whole", run);
}

TEST_CASE("a disk that takes no more: one sentence, the checkpoint before stays") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.steps = 3;
  const fs::path run = folder / "run";
  train_fresh(options, run);
  const auto before = contents(run / "checkpoints" / "step_000003");
  signal(SIGXFSZ, SIG_IGN);  // so that a file over the limit fails like one on a full disk
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  std::string error;
  {
    options.train.steps = 5;
    Trainer trainer(resolved(options), run, StartMode::resume);
    const rlimit small{.rlim_cur = 4000, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    error = error_of([&] { trainer.train(never); });
    setrlimit(RLIMIT_FSIZE, &old);
  }
  CHECK(contains(error, "cannot be written"));
  CHECK(contains(error, "the last good checkpoint is " + (run / "checkpoints" / "step_000003").string()));
  CHECK(latest_checkpoint(run).filename() == "step_000003");
  CHECK(contents(run / "checkpoints" / "step_000003") == before);
  CHECK_FALSE(fs::exists(run / "checkpoints" / "step_000005"));
  train_on(run, 5);
}

TEST_CASE("a run is not overwritten, and resuming needs the same pictures and a checkpoint") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.steps = 2;
  const fs::path run = folder / "run";
  train_fresh(options, run);
  CHECK(contains(error_of([&] { Trainer(resolved(options), run, StartMode::fresh); }), "already holds a training run"));
  CHECK(contains(error_of([&] { Trainer(resolved(options), folder / "none", StartMode::resume); }), "no checkpoint"));
  options.train.steps = 1;
  CHECK(contains(error_of([&] { Trainer(resolved(options), run, StartMode::resume); }), "already done 2 steps"));
  options.train.steps = 4;
  write_text(folder / "fewer.txt", "cmp_b0003\ncmp_b0004\ncmp_b0005\n");
  options.train.split_file = (folder / "fewer.txt").string();
  CHECK(contains(error_of([&] { Trainer(resolved(options), run, StartMode::resume); }), "the same pictures"));
}

TEST_CASE("steps beyond the epochs lengthen the part at full rate") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.niter = 1;
  options.train.niter_decay = 1;
  options.train.steps = 7;  // of 2 an epoch: 4 epochs
  train_fresh(options, folder / "run");
  Options read;
  options_from_json_file(folder / "run" / "config.json", read);
  CHECK(read.train.niter == 3);
  CHECK(read_log(folder / "run" / "log.jsonl").back().lr == 2e-4);
}

TEST_CASE("weights to start from are taken over, strictly") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.train.steps = 1;
  train_fresh(options, folder / "first");
  const fs::path weights = latest_checkpoint(folder / "first") / "G.safetensors";
  options.train.init_g = weights.string();
  options.train.lr = 1e-30;  // the step changes nothing that float32 can see
  train_fresh(options, folder / "second");
  const nn::StateDict before = nn::read_state_dict(weights),
                      after = nn::read_state_dict(latest_checkpoint(folder / "second") / "G.safetensors");
  for (const auto& [key, tensor] : before) CHECK(after.find(key)->to_vector<float>() == tensor.to_vector<float>());
  options.train.init_g = (latest_checkpoint(folder / "first") / "D.safetensors").string();
  const std::string error = error_of([&] { Trainer(resolved(options), folder / "third", StartMode::fresh); });
  CHECK(contains(error, "D.safetensors"));
  CHECK(contains(error, "lowres_stream.model.1.0.weight"));
  CHECK_FALSE(fs::exists(folder / "third"));
}

TEST_CASE("the perceptual loss needs its weights or its switch") {
  ScratchFolder folder;
  Options options = tiny_options(make_tiny_data(folder / "data"));
  options.model.no_vgg_loss = false;
  const std::string error = error_of([&] { Trainer(resolved(options), folder / "run", StartMode::fresh); });
  CHECK(contains(error, "--vgg FILE"));
  CHECK(contains(error, "--no-vgg-loss"));
}

TEST_CASE("chart: round ticks, averages, and any data drawn") {
  CHECK(axis_ticks(0, 10, 5) == std::vector<double>{0, 2, 4, 6, 8, 10});
  CHECK(axis_ticks(3, 48, 4) == std::vector<double>{20, 40});
  CHECK(axis_ticks(1, 1 + 1e-15, 4).size() <= 9);
  CHECK(moving_average({{1, 1}, {2, 4}, {3, 7}}, 1) == std::vector<double>{2.5, 4, 5.5});
  for (size_t count : {size_t{1}, size_t{2}, size_t{1000}}) {
    Points flat, wave;
    for (size_t i = 0; i < count; ++i) {
      flat.emplace_back(i, 2e-4);
      wave.emplace_back(i, std::sin(static_cast<double>(i)));
    }
    for (const Points& points : {flat, wave}) {
      const std::string svg = line_chart({{.points = points, .name = "run"}}, {.title = "a <b>"});
      CHECK(contains(svg, "a &lt;b&gt;"));
      CHECK_FALSE(contains(svg, "nan"));
      CHECK(svg.ends_with("</svg>"));
    }
  }
}
