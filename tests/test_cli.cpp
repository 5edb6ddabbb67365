// The program as its users meet it: exit codes, sentences for every kind of bad input, and each command's results.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>

#include "nn/checkpoint_file.h"
#include "nn/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"
#include "train/cli/cli.h"
#include "train/options/config_json.h"
#include "train/pictures/image_files.h"
#include "train/run/checkpoint.h"
#include "train/run/run_log.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

// x [1,C,H,W], one-hot, back to the label map it came from.
void write_one_hot_as_labels(const Tensor& x, const fs::path& path) {
  train::LabelMap labels(static_cast<int>(x.size(3)), static_cast<int>(x.size(2)));
  const int64_t pixels = x.size(2) * x.size(3);
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (x.data<float>()[i] == 1) labels.values[static_cast<size_t>(i % pixels)] = static_cast<int32_t>(i / pixels);
  }
  train::write_label_png(path, labels, std::vector<uint8_t>(3 * static_cast<size_t>(x.size(1)), 0));
}

// The numbers at the end of a .npy file, as a tensor of that shape.
Tensor read_npy(const fs::path& path, const Shape& shape) {
  const std::string bytes = read_text(path);
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  const size_t size = values.size() * sizeof(float);
  REQUIRE(bytes.size() > size);
  std::memcpy(values.data(), bytes.data() + bytes.size() - size, size);
  return Tensor::from(values, shape);
}

}  // namespace

TEST_CASE("help: every command explains itself and shows examples and defaults") {
  for (const char* command : {"train", "generate", "synth", "inspect", "convert", "encode", "labels", "evaluate"}) {
    const Result result = run({command, "--help"});
    CAPTURE(command);
    CHECK(result.code == 0);
    CHECK(contains(result.out, std::string("asapnet ") + command));
    CHECK(contains(result.out, "Example"));
  }
  const std::string train_help = run({"train", "--help"}).out;
  for (const char* part : {"--batch-size N=1", "--lr X=0.0002", "pictures a step", "Model: discriminator",
                           "--no-instance-edge=false", "--resume"}) {
    CAPTURE(part);
    CHECK(contains(train_help, part));
  }
  CHECK(contains(run({}).out, "Subcommands"));
  CHECK(contains(run({"--help"}).out, "asapnet synth --out data"));
  ran();
}

TEST_CASE("usage errors: exit code 2 and the nearest name") {
  check_refused({"trian"}, 2, {"no command 'trian'", "'train'"});
  check_refused({"train", "--out", "x", "--bach-size", "3"}, 2,
                {"no option --bach-size of asapnet train", "--batch-size"});
  check_refused({"train", "--out", "x", "--batch-size", "many"}, 2,
                {"--batch-size: expected a whole number, got 'many'"});
  check_refused({"train", "--out", "x", "--lr", "nan"}, 2, {"--lr: expected a number, got 'nan'"});
  check_refused({"train", "--out", "x", "--no-flip=perhaps"}, 2, {"--no-flip"});
  check_refused({"train", "--out", "x", "--gan-mode", "best"}, 2, {"hinge, ls, original or w"});
  check_refused({"train"}, 2, {"--out", "--resume"});
  check_refused({"train", "--out", "x", "--resume", "y"}, 2, {"--out", "--resume"});
  check_refused({"train", "--out", "x", "surplus"}, 2, {"'surplus' is one argument too many"});
  check_refused({"generate", "--labels", "x"}, 2, {"--"});
  check_refused({"inspect"}, 2, {"path"});
}

TEST_CASE("published spellings are flags too") {
  const Workshop shop;
  const fs::path out = shop.folder / "spelled";
  const Result result =
      run({"train", "--config", text(shop.config), "--out", text(out), "--batchSize", "2", "--lambda_feat=5",
           "--D_steps_per_G", "1", "--steps", "1", "--nThreads", "1", "--no_TTUR"});
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  train::Options options;
  train::options_from_json_file(out / "config.json", options);
  CHECK(options.train.batchSize == 2);
  CHECK(options.model.lambda_feat == 5);
  CHECK(options.train.nThreads == 1);
  CHECK(options.train.no_TTUR);
}

TEST_CASE("preset < config < flags") {
  const Workshop shop;
  const fs::path config = shop.folder / "part.json", out = shop.folder / "layers";
  write_text(config, R"({"ndf": 6, "num_D": 1, "crop_size": 64})");
  const Result result = run({"train",
                             "--preset",
                             "quick",
                             "--config",
                             text(config),
                             "--num-d",
                             "2",
                             "--lr-width",
                             "4",
                             "--lr-max-width",
                             "4",
                             "--hr-width",
                             "4",
                             "--learned-ds-factor",
                             "4",
                             "--reflection-pad=false",
                             "--data",
                             text(shop.data),
                             "--out",
                             text(out),
                             "--no-vgg-loss",
                             "--steps",
                             "1",
                             "--threads",
                             "1"});
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  train::Options options;
  train::options_from_json_file(out / "config.json", options);
  CHECK(options.model.lr_depth == asapnet::preset("quick").lr_depth);
  CHECK(options.model.ndf == 6);
  CHECK(options.model.num_D == 2);
  CHECK_FALSE(options.model.reflection_pad);
}

TEST_CASE("train: refusals") {
  const Workshop shop;
  const std::string out = text(shop.folder / "new"), config = text(shop.config);
  const auto train_with = [&](std::vector<std::string> more) {
    std::vector<std::string> all{"train", "--config", config, "--out", out};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  check_refused({"train", "--out", out, "--preset", "quick"}, 1, {"--data"});
  check_refused({"train", "--out", out, "--preset", "quik"}, 1, {"no preset 'quik'", "quick", "facades256"});
  check_refused({"train", "--out", out, "--preset", "quick", "--data", text(shop.data)}, 1,
                {"--vgg FILE", "--no-vgg-loss"});
  check_refused(train_with({"--data", "/nowhere"}), 1, {"/nowhere"});
  check_refused({"train", "--config", "/nowhere.json", "--out", out}, 1, {"/nowhere.json"});
  check_refused(train_with({"--device", "cuda"}), 1, {"--device cpu"});
  check_refused(train_with({"--device", "tpu"}), 1, {"cpu or cuda"});
  check_refused(train_with({"--precision", "f16"}), 1, {"f32, tf32 or bf16"});
  check_refused(train_with({"--crop-size", "48"}), 1, {"crop_size 48"});
  check_refused(train_with({"--label-nc", "5"}), 1, {"expected labels 0 to 4", ".png"});
  check_refused(train_with({"--batch-size", "50"}), 1, {"50"});
  check_refused(train_with({"--no-instance-edge=false"}), 1, {"--instance-dir", "--no-instance-edge"});
  check_refused(train_with({"--init-g", text(shop.label())}), 1, {"cmp_b0001.png", "not a checkpoint"});
  check_refused(train_with({"--init-g", "/nowhere.pth"}), 1, {"/nowhere.pth"});
  check_refused(train_with({"--init-d", text(shop.generator())}), 1, {"missing", "unexpected"});
  check_refused({"train", "--config", config, "--out", "/proc/run"}, 1, {"/proc/run"});
  check_refused({"train", "--config", config, "--out", text(shop.trained)}, 1,
                {"already holds a training run", "--resume"});
  check_refused({"train", "--resume", text(shop.data)}, 1, {"config.json"});
  check_refused({"train", "--resume", text(shop.trained), "--ndf", "8"}, 2, {"--ndf cannot change"});
  check_refused({"train", "--resume", text(shop.trained), "--preset", "quick"}, 2, {"--preset"});
  check_refused({"train", "--resume", text(shop.trained), "--steps", "1"}, 1, {"already done 2 steps"});

  fs::remove(shop.data / "base" / "cmp_b0005.jpg");
  check_refused(train_with({}), 1, {"cmp_b0005.jpg"});
  write_text(shop.data / "base" / "cmp_b0005.jpg", "no picture");
  check_refused(train_with({}), 1, {"cmp_b0005.jpg"});
}

TEST_CASE("train: two runs by flags, one resumed, end alike") {
  const Workshop shop;
  const fs::path whole = shop.folder / "whole";
  REQUIRE(run({"train", "--config", text(shop.config), "--out", text(whole), "--steps", "4"}).code == 0);
  const Result resumed = run({"train", "--resume", text(shop.trained), "--steps", "4", "--workers", "1"});
  CAPTURE(resumed.error);
  REQUIRE(resumed.code == 0);
  CHECK(contains(resumed.out, "steps 2 to 4"));
  CHECK(contains(resumed.out, "epoch 2/2 step 4/4"));
  for (const char* file :
       {"G.safetensors", "D.safetensors", "optimizer_G.safetensors", "optimizer_D.safetensors", "trainer.json"}) {
    CHECK(read_text(train::latest_checkpoint(whole) / file) ==
          read_text(train::latest_checkpoint(shop.trained) / file));
  }
  const Result longer = run({"train", "--resume", text(shop.trained), "--niter", "2", "--niter-decay", "1"});
  CHECK(longer.code == 0);
  CHECK(contains(longer.out, "finished after step 6"));
}

TEST_CASE("train: Ctrl-C finishes the step, saves, says how to go on, and exits with 130") {
  const Workshop shop;
  const fs::path out = shop.folder / "long";
  for (int signal_number : {SIGINT, SIGTERM}) {
    fs::remove_all(out);
    std::vector<std::string> arguments{ASAPNET_PROGRAM, "train",   "--config", text(shop.config),
                                       "--out",         text(out), "--steps",  "1000000"};
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const fs::path output = shop.folder / "output.txt";
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
    pid_t child = 0;
    REQUIRE(posix_spawn(&child, ASAPNET_PROGRAM, &actions, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 6000 && train::read_log(out / "log.jsonl").size() < 3; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    kill(child, signal_number);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 130);
    CHECK(contains(read_text(output), "asapnet train --resume " + text(out)));
    const auto steps = static_cast<int64_t>(train::read_log(out / "log.jsonl").size());
    CHECK(steps >= 3);
    const std::string resumed = run({"train", "--resume", text(out), "--steps", std::to_string(steps + 1)}).out;
    CHECK(contains(resumed, "finished after step " + std::to_string(steps + 1)));
  }
}

TEST_CASE("generate: from a run, a checkpoint folder and a weight file, the same picture") {
  const Workshop shop;
  std::vector<std::string> pictures;
  for (const fs::path& weights : {shop.trained, shop.generator().parent_path(), shop.generator()}) {
    const fs::path out = shop.folder / ("out" + std::to_string(pictures.size()));
    const Result result =
        run({"generate", "--weights", text(weights), "--labels", text(shop.label()), "--raw", "--out", text(out)});
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    CHECK(contains(result.out, " ms"));
    pictures.push_back(read_text(out / "cmp_b0001.png") + read_text(out / "cmp_b0001.npy"));
  }
  CHECK(pictures[0] == pictures[1]);
  CHECK(pictures[0] == pictures[2]);
  const train::Image picture = train::read_photo(shop.folder / "out0" / "cmp_b0001.png");
  CHECK(picture.width == 32);
  const std::string npy = read_text(shop.folder / "out0" / "cmp_b0001.npy");
  CHECK(contains(npy, "'shape': (3, 32, 32"));
  REQUIRE(run({"generate", "--weights", text(shop.trained), "--labels", text(shop.label()), "--out",
               text(shop.folder / "plain")})
              .code == 0);
  CHECK(read_text(shop.folder / "plain" / "cmp_b0001.png") == read_text(shop.folder / "out0" / "cmp_b0001.png"));
  // The picture is the array, truncated to 8 bits.
  const float first = read_npy(shop.folder / "out0" / "cmp_b0001.npy", {3, 32, 32}).data<float>()[0];
  CHECK(picture.at(0, 0, 0) == static_cast<int>((first + 1) / 2 * 255));
}

TEST_CASE("generate: a folder, a dataset's test phase, and sizes") {
  const Workshop shop;
  const fs::path out = shop.folder / "out";
  REQUIRE(run({"generate", "--weights", text(shop.trained), "--out", text(out / "phase")}).code == 0);
  CHECK(fs::exists(out / "phase" / "cmp_b0001.png"));
  CHECK(fs::exists(out / "phase" / "cmp_b0002.png"));
  CHECK_FALSE(fs::exists(out / "phase" / "cmp_b0003.png"));
  fs::create_directories(shop.folder / "maps");
  fs::copy(shop.label(), shop.folder / "maps");
  REQUIRE(run({"generate", "--weights", text(shop.trained), "--labels", text(shop.folder / "maps"), "--size", "64x48",
               "--out", text(out / "sized")})
              .code == 0);
  const train::Image picture = train::read_photo(out / "sized" / "cmp_b0001.png");
  CHECK(picture.width == 64);
  CHECK(picture.height == 48);
}

TEST_CASE("generate: refusals") {
  const Workshop shop;
  const std::string weights = text(shop.trained), out = text(shop.folder / "out"), label = text(shop.label());
  check_refused({"generate", "--weights", "/nowhere", "--labels", label, "--out", out}, 1,
                {"/nowhere: there is no such file"});
  check_refused({"generate", "--weights", text(shop.data), "--labels", label, "--out", out}, 1,
                {"expected a run folder"});
  check_refused({"generate", "--weights", label, "--labels", label, "--out", out}, 1, {"not a checkpoint"});
  check_refused({"generate", "--weights", weights, "--labels", "/nowhere.png", "--out", out}, 1, {"/nowhere.png"});
  check_refused({"generate", "--weights", weights, "--labels", label, "--size", "33x32", "--out", out}, 1,
                {"33x32", "32x32", "34x32"});
  check_refused({"generate", "--weights", weights, "--labels", label, "--precision", "half", "--out", out}, 1,
                {"f32, tf32 or bf16"});
  check_refused({"generate", "--weights", weights, "--labels", label, "--size", "big", "--out", out}, 1,
                {"WIDTHxHEIGHT"});
  check_refused({"generate", "--weights", weights, "--labels", label, label, "--out", out}, 1,
                {"cmp_b0001", "overwrite"});
  check_refused({"generate", "--weights", weights, "--labels", label, "--out", "/proc/out"}, 1, {"/proc/out"});
  check_refused({"generate", "--weights", weights, "--labels", label, "--label-nc", "20", "--out", out}, 1,
                {"--label-nc 20: ", "run was trained with label_nc 13"});
  check_refused({"generate", "--weights", text(shop.generator().parent_path() / "D.safetensors"), "--labels", label,
                 "--out", out},
                1, {"D.safetensors"});
  const std::string bytes = read_text(shop.generator());
  write_text(shop.folder / "cut.safetensors", bytes.substr(0, bytes.size() / 2));
  check_refused({"generate", "--weights", text(shop.folder / "cut.safetensors"), "--labels", label, "--out", out}, 1,
                {"cut.safetensors"});
}

TEST_CASE("official .pth files: configuration from names and shapes; inspect and convert") {
  ScratchFolder folder;
  const fs::path golden = ASAP_GOLDEN_DIR;
  for (const char* name : {"latest_net_G.pth", "legacy_net_G.pth"}) {
    CAPTURE(name);
    if (!fs::exists(golden / name)) FAIL("golden file is missing: ", name);
    const fs::path converted = folder / (std::string(name) + ".safetensors");
    REQUIRE(run({"convert", text(golden / name), text(converted)}).code == 0);
    const nn::StateDict before = nn::read_state_dict(golden / name), after = nn::read_state_dict(converted);
    REQUIRE(before.size() == after.size());
    for (const auto& [key, tensor] : before) CHECK(after.find(key)->to_vector<float>() == tensor.to_vector<float>());
    const Result inspected = run({"inspect", text(golden / name)});
    CHECK(inspected.code == 0);
    CHECK(contains(inspected.out, "network: generator"));
    CHECK(contains(inspected.out, "lowres_stream.model."));
    CHECK(contains(inspected.out, "learned_ds_factor = "));
  }
  const Result discriminator = run({"inspect", text(golden / "latest_net_D.pth")});
  CHECK(contains(discriminator.out, "num_D = 2"));
  CHECK(contains(discriminator.out, "norm_D = spectralinstance"));
  check_refused({"inspect", text(folder / "none.pth")}, 1, {"none.pth: there is no such file"});
  check_refused({"convert", text(golden / "latest_net_D.pth"), text(folder / "x.pth")}, 1, {".safetensors"});
}

TEST_CASE("generate: bare weights of a published generator give the published picture") {
  // The golden pictures are float32: each file says how far that is from float64. Ours round elsewhere, and the
  // Winograd convolutions further: measured 4.9 times that gap (gen_reflect_ds4).
  constexpr double kFactor = 10;
  ScratchFolder folder;
  struct Case {
    std::string file;
    std::vector<std::string> flags;  // what names and shapes cannot tell
  };
  for (const Case& c :
       {Case{"gen_zero_ds4", {"--hr-depth", "5"}}, Case{"gen_zero_S1x2", {}}, Case{"gen_reflect_ds4", {}},
        Case{"gen_reflect_S1x2", {}}, Case{"gen_replicate_ds4", {"--replicate-pad"}}}) {
    CAPTURE(c.file);
    const Golden golden(c.file);
    const fs::path weights = folder / "bare.safetensors", map = folder / "map.png", out = folder / "out";
    nn::write_safetensors(weights, golden.with_prefix("w."));
    write_one_hot_as_labels(golden.at("x"), map);
    std::vector<std::string> arguments{"generate", "--weights", text(weights), "--labels",
                                       text(map),  "--raw",     "--out",       text(out)};
    arguments.insert(arguments.end(), c.flags.begin(), c.flags.end());
    const Result result = run(arguments);
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    const Tensor y = golden.at("y");
    CHECK(golden_difference(read_npy(out / "map.npy", y.shape()), y) <
          kFactor * golden.meta_number("f32_vs_f64_reldiff", "y"));
  }
}

TEST_CASE("encode: mu and logvar of pictures, from a run with the encoder only") {
  const Workshop shop;
  const fs::path vae = shop.folder / "vae", out = shop.folder / "codes";
  REQUIRE(run({"train", "--config", text(shop.config), "--use-vae", "--out", text(vae), "--steps", "1"}).code == 0);
  const fs::path photo = shop.data / "base" / "cmp_b0001.jpg";
  const Result result = run({"encode", "--weights", text(vae), "--images", text(photo), "--out", text(out)});
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(contains(read_text(out / "cmp_b0001_mu.npy"), "'shape': (4,"));
  CHECK(contains(read_text(out / "cmp_b0001_logvar.npy"), "'shape': (4,"));
  check_refused({"encode", "--weights", text(shop.trained), "--images", text(photo), "--out", text(out)}, 1,
                {"--use-vae"});
}

TEST_CASE("synth: pictures by seed, refusals") {
  ScratchFolder folder;
  const Result result =
      run({"synth", "--out", text(folder / "a"), "--count", "3", "--size", "32", "--seed", "4", "--threads", "1"});
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(fs::exists(folder / "a" / "base" / "cmp_b0003.jpg"));
  check_refused({"synth", "--out", text(folder / "b"), "--size", "7"}, 1, {"7"});
  check_refused({"synth", "--out", "/proc/b", "--count", "2"}, 1, {"/proc/b"});
  check_refused({"synth", "--out", text(folder / "b"), "--count", "few"}, 2, {"--count"});
}

TEST_CASE("RGB-to-RGB: trains and generates from pictures") {
  const Workshop shop;
  fs::create_directories(shop.folder / "photos");
  for (int i = 3; i <= 8; ++i)
    fs::copy(shop.data / "base" / ("cmp_b000" + std::to_string(i) + ".jpg"), shop.folder / "photos");
  fs::copy(shop.folder / "photos", shop.folder / "sketches");
  const fs::path out = shop.folder / "rgb";
  const Result trained =
      run({"train", "--config", text(shop.config), "--dataset", "custom", "--label-dir", text(shop.folder / "sketches"),
           "--image-dir", text(shop.folder / "photos"), "--no-one-hot", "--steps", "1", "--out", text(out)});
  CAPTURE(trained.error);
  REQUIRE(trained.code == 0);
  const Result generated = run({"generate", "--weights", text(out), "--labels",
                                text(shop.data / "base" / "cmp_b0001.jpg"), "--out", text(out / "made")});
  CAPTURE(generated.error);
  CHECK(generated.code == 0);
  CHECK(fs::exists(out / "made" / "cmp_b0001.png"));
}

TEST_CASE("instance channel: cityscapes folders train with edges, and generating asks for instances") {
  const Workshop shop;
  const fs::path root = shop.folder / "city";
  fs::create_directories(root / "train_labels");
  fs::create_directories(root / "train_images");
  for (int i = 1; i <= 3; ++i) {
    const std::string frame = "town_00000" + std::to_string(i) + "_000019";
    const fs::path label = shop.data / "base" / ("cmp_b000" + std::to_string(i) + ".png");
    fs::copy(label, root / "train_labels" / (frame + "_gtFine_labelIds.png"));
    fs::copy(label, root / "train_labels" / (frame + "_gtFine_instanceIds.png"));
    fs::copy(shop.data / "base" / ("cmp_b000" + std::to_string(i) + ".jpg"),
             root / "train_images" / (frame + "_leftImg8bit.jpg"));
  }
  const fs::path out = shop.folder / "cityrun";
  const Result trained = run({"train", "--config", text(shop.config), "--dataset", "cityscapes", "--data", text(root),
                              "--no-instance-edge=false", "--lr-instance", "--steps", "1", "--out", text(out)});
  CAPTURE(trained.error);
  REQUIRE(trained.code == 0);
  const std::string label = text(shop.label());
  check_refused({"generate", "--weights", text(out), "--labels", label, "--out", text(out / "made")}, 1,
                {"--instances"});
  CHECK(run({"generate", "--weights", text(out), "--labels", label, "--instances", label, "--out", text(out / "made")})
            .code == 0);
}
