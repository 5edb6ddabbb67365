// Held-out pairs, pictures of them and the best checkpoint. Declared in examiner.h.
#include "train/run/examiner.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "asapnet/session.h"
#include "train/data/batch.h"
#include "train/files/user_text.h"
#include "train/options/resolve.h"
#include "train/run/progress.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

const Options& checked(const Options& options) {
  const std::string& best = options.train.keep_best;
  ASAP_CHECK(best.empty() || larger_is_better(best), "config: keep_best is '", best, "'; it must be one of ",
             comparable_scores());
  return options;
}

PairList held_out_pairs(const Options& options, const fs::path& run) {
  Options held_out = options;
  TrainOptions& o = held_out.train;
  o.phase = o.eval_phase;
  o.split_file.clear();
  if (o.dataset_mode == "custom") {
    ASAP_CHECK(!o.eval_label_dir.empty() && !o.eval_image_dir.empty(),
               "config: eval_every needs pairs that are not trained on; give --eval-label-dir and --eval-image-dir");
    ASAP_CHECK(o.eval_instance_dir.empty() != held_out.model.instance_channel(), "config: ",
               held_out.model.instance_channel()
                   ? "the model takes an instance channel; give --eval-instance-dir too"
                   : "eval_instance_dir has no effect on a model without an instance channel; leave it out");
    o.label_dir = o.eval_label_dir;
    o.image_dir = o.eval_image_dir;
    o.instance_dir = o.eval_instance_dir;
  }
  DatasetOptions dataset = dataset_options(held_out);
  dataset.skip = {run};
  const PairList all = list_pairs(dataset);
  const auto most = static_cast<size_t>(o.eval_count);
  if (most == 0 || all.size() <= most) return all;
  PairList some;  // spread over the data set
  for (size_t i = 0; i < most; ++i) some.push_back(all[i * all.size() / most]);
  return some;
}

// As PictureMaker's without --size and --preprocess: to the training size.
PreprocessOptions to_training_size(const Options& options) {
  PreprocessOptions p = preprocess_options(options);
  p.mode = Preprocess::fixed;
  p.load_size = p.crop_size;
  return p;
}

Exhibits exhibits_of(const Options& options, const PairList& pairs) {
  return {.count = pairs.size(),
          .smallest = pairs.front().name,
          .width = static_cast<int>(options.model.crop_size),
          .height = static_cast<int>(options.model.height()),
          .tile = static_cast<int>(options.model.tile()),
          .classes = options.model.no_one_hot ? 0 : options.model.label_nc};
}

double score_of(const ScoreEntry& scores, const std::string& name) {
  for (const auto& [score, value] : scores.scores)
    if (score == name) return value;
  return std::nan("");
}

}  // namespace

JudgeOptions judge_options(const TrainOptions& o) {
  JudgeOptions judge{.features = o.features,
                     .lpips_backbone = o.lpips_backbone,
                     .lpips_heads = o.lpips_heads,
                     .segmenter = o.segmenter};
  std::istringstream names(o.eval_metrics);
  for (std::string name; std::getline(names, name, ',');) {
    check_metric(name, "config: eval_metrics");
    judge.metrics.insert(name);
  }
  return judge;
}

Tensor picture_code(const Options& options, int64_t index) {
  if (!options.model.condition_on_z) return {};
  const auto z_dim = options.model.z_dim;
  return random_normal(
      {1, z_dim}, {.seed = static_cast<uint64_t>(options.train.seed), .offset = static_cast<uint64_t>(index * z_dim)});
}

Examiner::Examiner(const Options& options, const fs::path& run, const Ranks& ranks)
    : options_(checked(options)),
      run_(run),
      ranks_(ranks),
      preprocess_(to_training_size(options)),
      pairs_(held_out_pairs(options, run)) {
  ranks_.check_alike("held-out pairs", str(pairs_.size(), " of them"), "all need the same files");
  ranks_.together([&] {
    const auto [first, last] = ranks_.share_of(pairs_.size());
    for (size_t i = first; i < last; ++i) make_batch({load_sample(pairs_[i], preprocess_, {})}, options_.model);
  });
  judge_ = std::make_unique<Judge>(judge_options(options_.train), exhibits_of(options_, pairs_));
  const std::string& best = options_.train.keep_best;
  const std::vector<std::string> names = judge_->names();
  if (best.empty() || std::find(names.begin(), names.end(), best) != names.end()) return;
  fail("config: keep_best is ", best, ", which is not among the numbers that are computed: ", comma_list(names),
       "; see --eval-metrics and the networks that they need");
}

std::optional<ScoreEntry> Examiner::examine(const asapnet::Generator& generator, int64_t step,
                                            const std::function<bool()>& stop) {
  judge_->restart();
  std::optional<asapnet::InferenceSession> session;
  const auto judge_picture = [&](size_t i) {
    const Sample sample = load_sample(pairs_[i], preprocess_, {});
    const asapnet::Batch batch = make_batch({sample}, options_.model);
    const Tensor z = picture_code(options_, static_cast<int64_t>(i));
    judge_->add(picture_of(session->run({.labels = batch.labels, .instance = batch.instance, .z = z})), sample.photo,
                sample.label);
  };
  ranks_.together([&] {
    session.emplace(generator, asapnet::SessionOptions{.height = options_.model.height(),
                                                       .width = options_.model.crop_size,
                                                       .device = available_device(options_.train.device)});
  });
  const auto [first, last] = ranks_.share_of(pairs_.size());
  const size_t largest = (pairs_.size() + static_cast<size_t>(ranks_.size()) - 1) / static_cast<size_t>(ranks_.size());
  std::optional<CountBar> bar;
  if (ranks_.is_first()) bar.emplace(largest);
  for (size_t done = 0; done < largest; ++done) {  // in step: all stop after the same number of pictures
    if (ranks_.any(stop())) return std::nullopt;
    const size_t i = first + done;
    if (bar) bar->update(done, pairs_[i].name);
    ranks_.together([&, end = last] {
      if (i < end) judge_picture(i);
    });
  }
  judge_->collect(ranks_);
  ScoreEntry entry{.step = step, .scores = {}};
  text_.clear();
  for (const Score& score : judge_->scores()) {
    entry.scores.emplace_back(score.name, score.value);
    text_ += (text_.empty() ? "" : " | ") + score.name + " " + shown(score.value, score.digits);
  }
  return entry;
}

bool Examiner::is_best(const ScoreEntry& scores) const {
  const std::string& name = options_.train.keep_best;
  const double value = score_of(scores, name);
  if (name.empty() || std::isnan(value)) return false;
  const auto best = best_checkpoint(run_);
  if (!best || best->score != name) return true;
  return *larger_is_better(name) ? value > best->value : value < best->value;
}

void Examiner::keep_best(const ScoreEntry& scores) {
  const std::string& name = options_.train.keep_best;
  mark_best(run_,
            {.folder = run_ / "checkpoints" / step_name(scores.step), .score = name, .value = score_of(scores, name)});
}

}  // namespace asap::train
