// A training that judges its weights on the way (train/run/examiner.h): it learns the same, its numbers are those of evaluate, and the
// best checkpoint stays, whatever interrupts the run.
#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "train/run/trainer.h"

using namespace asap;
using namespace asap::train;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

struct School {
  ScratchFolder folder;
  fs::path data = make_tiny_data(folder / "data"), run = folder / "run";
  Options options = tiny_options(data);

  School() {
    options.train.eval_every = {1, false};
    options.train.save_every = {0, false};
  }
  Outcome train(int64_t steps, StartMode mode = StartMode::fresh, int64_t stop_before = -1, const fs::path& from = {}) {
    options.train.steps = steps;
    Options resolved = options;
    resolve(resolved);
    Trainer trainer(resolved, run, mode, from);
    return trainer.train([&] { return trainer.step() == stop_before; });
  }
  fs::path checkpoints() const { return run / "checkpoints"; }
  std::vector<ScoreEntry> scores() const { return read_scores(run / "log.jsonl"); }
  std::set<std::string> names() const {
    std::set<std::string> all;
    for (const auto& entry : fs::directory_iterator(checkpoints())) all.insert(entry.path().filename().string());
    return all;
  }
  // The step with the best value in the log.
  int64_t best_step(const std::string& score) const {
    int64_t step = 0;
    double best = std::nan("");
    for (const ScoreEntry& entry : scores()) {
      for (const auto& [name, value] : entry.scores) {
        const bool better = std::isnan(best) || (*larger_is_better(score) ? value > best : value < best);
        if (name == score && better) step = entry.step, best = value;
      }
    }
    return step;
  }
  void check_best(const std::string& score, int64_t last) const {
    const int64_t step = best_step(score);
    CHECK(read_text(checkpoints() / "best").starts_with(step_name(step) + "\n" + score + " "));
    CHECK(names() == std::set<std::string>{"best", "latest", step_name(step), step_name(last)});
    CHECK(read_trainer_state(checkpoints() / step_name(step)).step == step);
  }
};

std::string weights_of(const fs::path& checkpoint) {
  std::string all;
  for (const char* file : {"G", "D", "optimizer_G", "optimizer_D"})
    all += read_text(checkpoint / (std::string(file) + ".safetensors"));
  return all;
}

}  // namespace

TEST_CASE("judging changes nothing of what is learned") {
  ran();
  School judged, plain;
  for (School* school : {&judged, &plain}) school->options.model.use_vae = school->options.model.condition_on_z = true;
  judged.options.train.features = (judged.folder / "features.safetensors").string();
  nn::write_safetensors(judged.options.train.features, Golden("judge").with_prefix("SqueezeNet 1.1/"));
  judged.options.train.keep_best = "psnr";
  plain.options.train.eval_every = {0, false};
  judged.train(4);
  plain.train(4);
  CHECK(judged.scores().size() == 4);
  CHECK(plain.scores().empty());
  CHECK(weights_of(judged.checkpoints() / "step_000004") == weights_of(plain.checkpoints() / "step_000004"));
}

TEST_CASE("the numbers on the way are those of evaluate, and best is a place for weights") {
  ran();
  School school;
  school.options.train.keep_best = "seams";
  school.train(4);
  const ScoreEntry best = school.scores().at(static_cast<size_t>(school.best_step("seams")) - 1);
  CHECK(best.scores.size() == 4);  // psnr, ssim, seams, seams_of_references; 32 pixels a side are too few for ms-ssim
  const std::string weights = text(school.checkpoints() / "best");
  const fs::path json = school.folder / "scores.json";
  const Result result = run({"evaluate", "--weights", weights, "--out", text(json)});
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  const auto all = nlohmann::json::parse(read_text(json));
  for (const auto& [name, value] : best.scores) {
    CAPTURE(name);
    CHECK(all["metrics"][name]["mean"].get<double>() == value);
  }
  CHECK(run({"generate", "--weights", weights, "--out", text(school.folder / "made")}).code == 0);
  write_text(school.checkpoints() / "best", "step_000009\nseams 1\n");
  check_refused({"generate", "--weights", weights, "--out", text(school.folder / "made")}, 1,
                {"best names step_000009, which is not there"});
  write_text(school.checkpoints() / "best", "nonsense");
  check_refused({"generate", "--weights", weights, "--out", text(school.folder / "made")}, 1,
                {"expected the name of a checkpoint"});
}

TEST_CASE("the best checkpoint stays beside the latest, by every score that has a better") {
  ran();
  for (const std::string score : {"psnr", "ssim", "seams"}) {
    CAPTURE(score);
    School school;
    school.options.train.keep_best = score;
    REQUIRE(school.train(6) == Outcome::finished);
    CHECK(school.scores().size() == 6);
    school.check_best(score, 6);
  }
}

TEST_CASE("interrupted and resumed: the same numbers and the same best as in one go") {
  ran();
  School whole, parts;
  for (School* school : {&whole, &parts}) school->options.train.keep_best = "ssim";
  whole.train(6);
  REQUIRE(parts.train(6, StartMode::fresh, 3) == Outcome::interrupted);
  parts.check_best("ssim", 3);
  parts.train(6, StartMode::resume);
  parts.check_best("ssim", 6);
  REQUIRE(parts.scores().size() == 6);
  for (size_t i = 0; i < 6; ++i) CHECK(parts.scores()[i].scores == whole.scores()[i].scores);
  CHECK(read_text(parts.checkpoints() / "best") == read_text(whole.checkpoints() / "best"));
  const std::string best = step_name(whole.best_step("ssim"));
  CHECK(weights_of(parts.checkpoints() / best) == weights_of(whole.checkpoints() / best));
}

TEST_CASE("what an interruption kept from being judged, or from being named the best, is made up for on resuming") {
  ran();
  School school;
  school.options.train.keep_best = "psnr";
  school.train(3);
  const auto before = school.scores();
  const std::string named = read_text(school.checkpoints() / "best");
  const int64_t best = school.best_step("psnr");
  // Killed between the last save and the numbers of its step.
  const std::string log = read_text(school.run / "log.jsonl");
  write_text(school.run / "log.jsonl", log.substr(0, log.rfind("{\"step\":3,\"scores\"")));
  school.train(4, StartMode::resume);
  REQUIRE(school.scores().size() == 4);
  CHECK(school.scores()[2].scores == before[2].scores);
  if (school.best_step("psnr") == best) CHECK(read_text(school.checkpoints() / "best") == named);
  // Killed before best was written: the numbers are in the log.
  fs::remove(school.checkpoints() / "best");
  school.train(5, StartMode::resume);
  CHECK(school.scores().size() == 5);
  const auto kept = best_checkpoint(school.run);
  REQUIRE(kept);
  CHECK(std::set<std::string>{"step_000004", "step_000005"}.contains(kept->folder.filename().string()));
}

TEST_CASE("a step that is done again with another outcome does not take the best one's place") {
  ran();
  School school;
  school.options.train.keep_checkpoints = true;
  school.options.train.save_every = {1, false};
  school.train(5);
  mark_best(school.run, {.folder = school.checkpoints() / "step_000005", .score = "psnr", .value = 99});
  const std::string weights = weights_of(school.checkpoints() / "step_000005");
  school.options.train.keep_best = "psnr";
  school.options.train.niter = 1;  // another learning rate in the third epoch
  school.options.train.niter_decay = 2;
  school.train(5, StartMode::resume, -1, school.checkpoints() / "step_000004");
  CHECK(read_text(school.checkpoints() / "best") == "step_000005.old\npsnr 99\n");
  CHECK(weights_of(school.checkpoints() / "step_000005.old") == weights);
  CHECK(weights_of(school.checkpoints() / "step_000005") != weights);
  CHECK(named_checkpoint(school.checkpoints() / "best") == school.checkpoints() / "step_000005.old");
}

TEST_CASE("numbers that do not exist are never the best, and infinite ones are") {
  ran();
  School school;
  school.options.train.keep_best = "psnr";
  school.train(1);
  Options resolved = school.options;
  resolve(resolved);
  Examiner examiner(resolved, school.run);
  const auto is_best = [&](double value) { return examiner.is_best({.step = 1, .scores = {{"psnr", value}}}); };
  const double now = best_checkpoint(school.run)->value;
  CHECK_FALSE(is_best(std::nan("")));
  CHECK_FALSE(is_best(now));
  CHECK(is_best(now + 0.001));
  examiner.keep_best({.step = 1, .scores = {{"psnr", INFINITY}}});
  CHECK(best_checkpoint(school.run)->value == INFINITY);
  CHECK_FALSE(is_best(INFINITY));
  CHECK_FALSE(examiner.is_best({.step = 1, .scores = {{"ssim", 1}}}));
}

TEST_CASE("custom data: held-out pairs have folders of their own") {
  ran();
  School school;
  TrainOptions& o = school.options.train;
  o.dataset_mode = "custom";
  o.dataroot.clear();
  for (const auto& [folder, ending] : {std::pair{"labels", ".png"}, {"photos", ".jpg"}}) {
    for (int i = 1; i <= 8; ++i) {  // 1 and 2 are held out
      const fs::path target = school.folder / (i <= 2 ? "held_out" : "learned") / folder;
      fs::create_directories(target);
      fs::copy(school.data / "base" / str("cmp_b000", i, ending), target);
    }
  }
  o.label_dir = (school.folder / "learned" / "labels").string();
  o.image_dir = (school.folder / "learned" / "photos").string();
  CHECK(contains(error_of([&] { school.train(1); }), "give --eval-label-dir and --eval-image-dir"));
  o.eval_label_dir = (school.folder / "held_out" / "labels").string();
  o.eval_image_dir = (school.folder / "held_out" / "photos").string();
  school.train(2);
  School facades;  // the same pairs in another layout
  facades.train(2);
  REQUIRE(school.scores().size() == 2);
  CHECK(school.scores()[1].scores == facades.scores()[1].scores);
}

TEST_CASE("held-out pairs that cannot be used, numbers that cannot be had: refused before a run begins") {
  ran();
  const School school;
  const auto refused = [&](int code, const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    const fs::path config = school.folder / "tiny.json";
    write_text(config, options_to_json(tiny_options(school.data)));
    std::vector<std::string> all{"train", "--config", text(config), "--out", text(school.run)};
    all.insert(all.end(), more.begin(), more.end());
    check_refused(all, code, parts);
    CHECK_FALSE(fs::exists(school.run));
  };
  refused(1, {"--keep-best", "psnr"}, {"keep_best is psnr, but nothing is judged; give --eval-every too"});
  refused(1, {"--eval-every", "1", "--keep-best", "beauty"},
          {"keep_best is 'beauty'; it must be one of psnr, ssim, ms-ssim, lpips, seams"});
  refused(1, {"--eval-every", "1", "--eval-metrics", "psnr,ssim", "--keep-best", "seams"},
          {"keep_best is seams, which is not among the numbers that are computed: psnr, ssim; see --eval-metrics"});
  refused(1, {"--eval-every", "1", "--eval-metrics", "psnr,charm"},
          {"eval_metrics: expected some of psnr, ssim", "got 'charm'"});
  refused(1, {"--eval-every", "1", "--eval-metrics", "kernel"}, {"kernel: features of a network are needed"});
  refused(1, {"--eval-every", "1", "--eval-phase", "nowhere"}, {"nowhere"});
  refused(1, {"--eval-every", "1", "--features", "/none"}, {"/none"});
  write_text(school.data / "base" / "cmp_b0001.jpg", "no picture");  // of the test phase
  refused(1, {"--eval-every", "1"}, {"cmp_b0001.jpg"});
}
