// asapnet segmenter and the numbers that evaluate gets from what it trained: the program from data to scores, and what it refuses. The
// network itself is compared with PyTorch's in test_judge.cpp.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "asapnet/segmenter.h"
#include "nn/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "train/options/config_json.h"
#include "train/options/resolve.h"
#include "train/pictures/image_files.h"
#include "train/run/train_segmenter.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

struct Classroom : Workshop {
  fs::path segmenter = folder / "segmenter.safetensors", json = folder / "scores.json";

  std::vector<std::string> learn(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"segmenter", "--config", text(config), "--out", text(segmenter), "--width", "4",
                                 "--levels",  "2",        "--threads",  "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::vector<std::string> evaluate(const std::vector<std::string>& more = {}) const {
    std::vector<std::string> all{"evaluate",      "--weights", text(trained), "--segmenter",
                                 text(segmenter), "--out",     text(json)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

}  // namespace

TEST_CASE("a segmenter learns the classes of photos, the same ones from the same seed, and evaluate asks it") {
  ran();
  const Classroom room;
  REQUIRE(run(room.learn({"--steps", "150"})).code == 0);
  const std::string bytes = read_text(room.segmenter);
  REQUIRE(run(room.learn({"--steps", "150"})).code == 0);
  CHECK(read_text(room.segmenter) == bytes);
  const Result result = run(room.evaluate({"--metrics", "segmentation"}));
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(contains(result.out, "of Segmenter (13 classes), crc32 "));
  const Json scores = Json::parse(read_text(room.json))["metrics"];
  CHECK(scores.size() == 6);
  const auto value = [&](const char* name) { return scores[name]["value"].get<double>(); };
  // Measured: 0.48 on two photos that it has not seen, after six others; the pictures of a generator of two steps are noise.
  CHECK(value("pixel_accuracy_of_references") > 0.4);
  CHECK(value("pixel_accuracy") < value("pixel_accuracy_of_references") - 0.1);
  CHECK(value("mean_iou") < value("mean_iou_of_references"));

  const Result larger = run(room.evaluate({"--metrics", "segmentation", "--size", "64"}));
  CHECK(larger.code == 0);
  CHECK(contains(larger.error, "the segmenter learned from pictures of 32x32, and these are 64x64"));
}

TEST_CASE("a segmenter that is stopped keeps what it has learned") {
  const Classroom room;
  train::Options options;
  train::options_from_json_file(room.config, options);
  options.train.threads = 1;
  train::resolve(options);
  int looks = 0;
  const train::SegmenterTraining training{.out = room.segmenter, .steps = 100, .width = 4, .levels = 2};
  CHECK(train::train_segmenter(options, training, [&] { return ++looks > 3; }) == 3);
  CHECK(run(room.evaluate({"--metrics", "segmentation"})).code == 0);
}

TEST_CASE("segmenters and LPIPS's files that do not fit are refused before anything is computed") {
  ran();
  const Classroom room;
  const auto refused = [&](const std::vector<std::string>& arguments, int code, const std::vector<std::string>& parts) {
    check_refused(arguments, code, parts);
    CHECK_FALSE(fs::exists(room.json));
  };
  nn::write_safetensors(room.segmenter, Golden("judge").with_prefix("segmenter/"));
  refused(room.evaluate(), 1,
          {"segmenter.safetensors tells 5 classes apart, but the label maps have 13; train one for them"});
  refused({"evaluate", "--weights", text(room.trained), "--segmenter", text(room.generator())}, 1,
          {"G.safetensors: expected the weights of a segmenter"});
  refused({"evaluate", "--weights", text(room.trained), "--metrics", "segmentation"}, 1,
          {"segmentation: a segmenter is needed; train one with asapnet segmenter"});
  refused(room.evaluate({"--metrics", "psnr"}), 2, {"--segmenter has no effect without segmentation among --metrics"});
  refused(
      {"evaluate", "--weights", text(room.trained), "--out", text(room.segmenter), "--segmenter", text(room.segmenter)},
      1, {"is a file of weights; choose another --out"});

  const fs::path backbone = room.folder / "backbone.safetensors", heads = room.folder / "heads.safetensors";
  nn::write_safetensors(backbone, Golden("judge").with_prefix("AlexNet/"));
  nn::write_safetensors(heads, Golden("judge").with_prefix("AlexNet/heads/"));
  const auto lpips = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{"evaluate", "--weights", text(room.trained)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  refused(lpips({"--lpips-backbone", text(backbone)}), 1,
          {"lpips: a network and the heads that belong to it are needed; give both"});
  refused(lpips({"--metrics", "lpips"}), 1, {"lpips: a network and the heads that belong to it are needed"});
  refused(lpips({"--metrics", "psnr", "--lpips-heads", text(heads)}), 2, {"--lpips-heads has no effect without lpips"});
  refused(lpips({"--lpips-backbone", text(backbone), "--lpips-heads", text(heads), "--out", text(heads)}), 1,
          {"is a file of weights"});
  const Result result =
      run(lpips({"--lpips-backbone", text(backbone), "--lpips-heads", text(heads), "--out", text(room.json)}));
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(contains(result.out, "of AlexNet, crc32 "));
  const Json all = Json::parse(read_text(room.json));
  CHECK(all["metrics"]["lpips"]["mean"].get<double>() > 0);
  CHECK(all["per_picture"][0].contains("lpips"));

  check_refused(room.learn({"--steps", "0"}), 1, {"--steps: expected 1 or more, got 0"});
  check_refused(room.learn({"--no-one-hot"}), 1, {"expected label maps"});
  check_refused({"segmenter", "--config", text(room.config), "--out", text(room.data / "base" / "cmp_b0003.jpg")}, 1,
                {"is one of the pictures; choose another --out"});
}
