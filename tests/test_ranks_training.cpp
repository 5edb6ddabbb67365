// Training by several ranks on this machine, started as a user does: asapnet train --ranks N. One rank is the reference.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "nn/safetensors.h"
#include "tensor/ops.h"
#include "tests/support/ranks.h"
#include "train/data/prefetcher.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"
#include "train/run/run_log.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

// A data set of 20 pairs to train and 4 to test, and the options of the tiny run in a file.
struct Room {
  ScratchFolder folder;
  Options options;

  Room() {
    write_synthetic_facades(folder / "data", {.count = 24, .size = 32, .seed = 5, .test_share = 1.0 / 6, .threads = 1});
    options = tiny_options(folder / "data");
    options.train.batchSize = 4;
    options.train.steps = 6;
  }
  Ended run(const std::vector<std::string>& arguments) const { return run_to_end(folder.path(), arguments); }
  Ended try_to_train(const std::string& name, int ranks, std::vector<std::string> more = {}) const {
    write_text(folder / "config.json", options_to_json(options));
    std::vector<std::string> arguments{"train",    "--config", folder / "config.json", "--out", folder / name,
                                       "--ranks", std::to_string(ranks)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }
  fs::path train(const std::string& name, int ranks, const std::vector<std::string>& more = {}) const {
    const Ended ended = try_to_train(name, ranks, more);
    CAPTURE(ended.error);
    REQUIRE(ended.code == 0);
    CHECK(ended.error == "");
    return folder / name;
  }
};

std::map<std::string, std::string> checkpoint_of(const fs::path& run) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(latest_checkpoint(run)))
    files[entry.path().filename().string()] = read_text(entry.path());
  return files;
}

// The largest difference of a loss, as a share of it or of 1, over all steps.
double loss_difference(const fs::path& a, const fs::path& b) {
  const std::vector<LogEntry> first = read_log(a / "log.jsonl"), second = read_log(b / "log.jsonl");
  REQUIRE(first.size() == second.size());
  double most = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    REQUIRE(first[i].losses.size() == second[i].losses.size());
    CHECK(first[i].lr == second[i].lr);
    for (size_t k = 0; k < first[i].losses.size(); ++k) {
      CHECK(first[i].losses[k].first == second[i].losses[k].first);
      const double wanted = first[i].losses[k].second, found = second[i].losses[k].second;
      most = std::max(most, std::abs(found - wanted) / std::max(1.0, std::abs(wanted)));
    }
  }
  return most;
}

// Of a file of the latest checkpoints: the same tensors, and their largest difference.
double weight_difference(const fs::path& a, const fs::path& b, const char* file) {
  const nn::StateDict first = nn::read_state_dict(latest_checkpoint(a) / file), second = nn::read_state_dict(latest_checkpoint(b) / file);
  CHECK(first.size() == second.size());
  double most = 0;
  for (const auto& [key, tensor] : first) {
    REQUIRE(second.contains(key));
    most = std::max(most, max(abs(sub(tensor.to(DType::f64), second.find(key)->to(DType::f64)))).item());
  }
  return most;
}

}  // namespace

TEST_CASE("two and four ranks train as one does, to rounding; the same number of ranks gives the same bits") {
  if (!can_run_ranks()) return;
  Room room;
  room.options.train.beta1 = 0.5;  // without first moments a step is a gradient's sign, which rounding may turn
  SUBCASE("as published") {}
  SUBCASE("an encoder, sums over the batch, several batches a step, an average") {
    room.options.model.use_vae = room.options.model.condition_on_z = true;
    room.options.model.lambda_phi = 1e-3;
    room.options.train.accumulate = 2;
    room.options.train.ema = 0.9;
  }
  const fs::path one = room.train("one", 1), two = room.train("two", 2), again = room.train("again", 2), four = room.train("four", 4);
  for (const fs::path& run : {two, four}) {
    CAPTURE(run.string());
    CHECK(loss_difference(one, run) < 2e-5);  // measured: 2e-6
    for (const char* file : {"G.safetensors", "D.safetensors", "optimizer_G.safetensors"})
      CHECK(weight_difference(one, run, file) < 1e-4);
  }
  CHECK(checkpoint_of(two) == checkpoint_of(again));
  std::vector<std::string> names, of_one;
  for (const auto& [name, bytes] : checkpoint_of(four)) names.push_back(name);
  for (const auto& [name, bytes] : checkpoint_of(one)) of_one.push_back(name);
  CHECK(names == of_one);
}

TEST_CASE("a run goes on with as many ranks as before to the bit, and with another number to rounding, which it says") {
  if (!can_run_ranks()) return;
  Room room;
  const fs::path whole = room.train("whole", 2);
  room.options.train.steps = 3;
  const fs::path parts = room.train("parts", 2);
  fs::copy(parts, room.folder / "other", fs::copy_options::recursive);
  const Ended ended = room.run({"train", "--resume", parts, "--steps", "6", "--ranks", "2", "--threads", "1"});
  CHECK(ended.code == 0);
  CHECK(ended.error == "");
  CHECK(checkpoint_of(whole) == checkpoint_of(parts));
  const Ended alone = room.run({"train", "--resume", room.folder / "other", "--steps", "6"});
  CHECK(alone.code == 0);
  CHECK(contains(alone.error, "trained by 2 ranks so far, and now by 1"));
  CHECK(loss_difference(whole, room.folder / "other") < 1e-2);
}

TEST_CASE("gradients may travel in bf16") {
  if (!can_run_ranks()) return;
  Room room;
  room.options.train.beta1 = 0.5;
  const fs::path exact = room.train("exact", 2), narrow = room.train("narrow", 2, {"--reduce-dtype", "bf16"});
  const double difference = weight_difference(exact, narrow, "G.safetensors");
  CHECK(difference > 0);
  CHECK(difference < 1e-3);
}

TEST_CASE("what the ranks send has its time in the profile and in the progress") {
  if (!can_run_ranks()) return;
  const Ended ended = Room().try_to_train("run", 2, {"--profile", "2"});
  CHECK(ended.code == 0);
  CHECK(contains(ended.out, "  all_reduce=mpi\n"));
  CHECK(contains(ended.out, "; sums of gradients were waited for "));
}

TEST_CASE("held-out pairs are judged by all ranks, and the best checkpoint is kept") {
  if (!can_run_ranks()) return;
  Room room;
  const fs::path run = room.train("run", 2, {"--eval-every", "3", "--eval-metrics", "psnr,ssim", "--keep-best", "psnr"});
  const std::vector<ScoreEntry> scores = read_scores(run / "log.jsonl");
  REQUIRE(scores.size() == 2);
  CHECK(scores[0].scores.size() == 2);
  CHECK(best_checkpoint(run).has_value());
}

TEST_CASE("a picture that cannot be read on one rank ends all with one sentence, and what was learned is saved") {
  if (!can_run_ranks()) return;
  Room room;
  room.options.train.steps = 20;
  // The last of the third batch, which is rank 1's.
  const int64_t index = epoch_order(20, {.batch_size = 4, .seed = static_cast<uint64_t>(room.options.train.seed)}, 1)[11];
  const fs::path broken = list_pairs(dataset_options(room.options))[static_cast<size_t>(index)].image;
  write_text(broken, "no picture");
  const Ended ended = room.try_to_train("run", 2);
  CHECK(ended.code == 1);
  CHECK(ended.error.starts_with("asapnet: rank 1 (host " + host_name() + "): " + broken.string()));
  CHECK(contains(ended.error, "; saved after step 2, so that --resume "));
  CHECK(std::count(ended.error.begin(), ended.error.end(), '\n') == 1);
  CHECK(latest_checkpoint(room.folder / "run").filename() == "step_000002");
}

TEST_CASE("a batch that the ranks cannot share evenly is refused") {
  if (!can_run_ranks()) return;
  const Ended ended = Room().try_to_train("run", 2, {"--batch-size", "3"});
  CHECK(ended.code == 1);
  CHECK(contains(ended.error, "--batch-size 3, but 2 ranks share each batch evenly; choose a multiple of 2"));
  CHECK(std::count(ended.error.begin(), ended.error.end(), '\n') == 1);
}
