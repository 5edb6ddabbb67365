// Examiner: a training's weights judged on pairs that it does not learn from (judge.h), with the pictures that `asapnet evaluate` would
// make of them, and which checkpoint was the best so far. Reads the weights, and nothing else of the training: a run with
// examinations and one without are equal to the bit. Used by the trainer.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "asapnet/generator.h"
#include "train/data/load_sample.h"
#include "train/options/options.h"
#include "train/run/checkpoint.h"
#include "train/run/judge.h"
#include "train/run/run_log.h"

namespace asap::train {

// What the option table says about the judge.
JudgeOptions judge_options(const TrainOptions& options);

// Of a model with condition_on_z, the code of picture `index`: f32 [1,z_dim] by the seed; undefined for other models.
Tensor picture_code(const Options& options, int64_t index);

class Examiner {
 public:
  // Options must be resolved, with eval_every. Reads every pair once. asap::Error: pairs that are missing or cannot be used, networks and
  // metrics as Judge, a keep_best that is not among the numbers.
  // Each rank reads and judges its share of the pairs.
  Examiner(const Options& options, const std::filesystem::path& run, const Ranks& ranks = {});

  // Of the weights after `step` steps, on every rank the same. Nothing if `stop` said so in between on any rank. asap::Error: a pair that
  // cannot be used any more.
  std::optional<ScoreEntry> examine(const asapnet::Generator& generator, int64_t step,
                                    const std::function<bool()>& stop);
  // "psnr 12.56 | ssim 0.2236", of the last examination.
  const std::string& text() const { return text_; }

  // Whether these beat the best checkpoint that is there, by keep_best. What does not exist beats nothing.
  bool is_best(const ScoreEntry& scores) const;
  // The checkpoint of that step, which is there, is the best one from now on.
  void keep_best(const ScoreEntry& scores);

 private:
  const Options options_;
  const std::filesystem::path run_;
  const Ranks ranks_;
  PreprocessOptions preprocess_;
  PairList pairs_;
  std::unique_ptr<Judge> judge_;
  std::string text_;
};

}  // namespace asap::train
