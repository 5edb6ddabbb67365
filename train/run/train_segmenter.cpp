// The segmenter's training loop. Declared in train_segmenter.h.
#include "train/run/train_segmenter.h"

#include <chrono>
#include <cmath>
#include <iostream>

#include "asapnet/segmenter.h"
#include "nn/init.h"
#include "nn/optim.h"
#include "nn/safetensors.h"
#include "tensor/threads.h"
#include "train/data/batch.h"
#include "train/data/prefetch_loader.h"
#include "train/files/output_guard.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/resolve.h"
#include "train/run/progress.h"

namespace asap::train {
namespace {

using Clock = std::chrono::steady_clock;

void check_settings(const Options& options, const SegmenterTraining& t) {
  ASAP_CHECK(!options.model.no_one_hot,
             "segmenter: expected label maps, but with no_one_hot the input is an RGB picture");
  for (const auto& [flag, value] :
       {std::pair{"--steps", t.steps}, {"--batch-size", t.batch_size}, {"--width", t.width}, {"--levels", t.levels}})
    ASAP_CHECK(value >= 1, flag, ": expected 1 or more, got ", value);
  ASAP_CHECK(t.levels <= 8 && t.width <= 1024, "segmenter: expected --levels up to 8 and --width up to 1024, got ",
             t.levels, " and ", t.width);
  ASAP_CHECK(t.lr > 0, "--lr: expected more than 0, got ", t.lr);
}

void check_output(const PairList& pairs, const std::filesystem::path& out) {
  OutputGuard guard;
  for (const Pair pair : pairs) {
    for (const auto& file : {pair.label, pair.image}) guard.protect(file, "one of the pictures");
  }
  guard.check(out);
  make_folder(std::filesystem::absolute(out).parent_path());
}

std::unique_ptr<asapnet::Segmenter> new_segmenter(const SegmenterTraining& t, const Options& options) {
  std::vector<int64_t> widths;
  for (int64_t level = 0; level < t.levels; ++level) widths.push_back(t.width << level);
  const nn::SeededRandom random(static_cast<uint64_t>(options.train.seed));
  return std::make_unique<asapnet::Segmenter>(widths, options.model.label_nc);
}

}  // namespace

int64_t train_segmenter(const Options& options, const SegmenterTraining& t, const std::function<bool()>& stop) {
  check_settings(options, t);
  const PairList pairs = list_pairs(dataset_options(options));
  check_output(pairs, t.out);
  set_num_threads(static_cast<int>(options.train.threads));
  const auto segmenter = new_segmenter(t, options);
  nn::AdamW optimizer(segmenter->named_parameters(), {.lr = t.lr, .weight_decay = 1e-2});
  PrefetchLoader loader(pairs, preprocess_options(options),
                        {.batch_size = t.batch_size,
                         .threads = static_cast<int>(options.train.nThreads),
                         .seed = static_cast<uint64_t>(options.train.seed),
                         .flip = !options.train.no_flip});
  const int64_t per_epoch = loader.batches_per_epoch();
  Progress progress(0, t.steps, (t.steps + per_epoch - 1) / per_epoch);
  LogEntry entry;
  int64_t done = 0;
  while (done < t.steps && !stop()) {
    const int64_t step = done + 1;
    const auto begin = Clock::now();
    const int64_t epoch = (step - 1) / per_epoch + 1;
    if ((step - 1) % per_epoch == 0) loader.start_epoch(epoch);
    const asapnet::Batch batch = make_batch(*loader.next(), options.model);
    optimizer.set_lr(nn::schedule::warmup_cosine(t.lr, step, std::max<int64_t>(t.steps / 20, 1), t.steps));
    optimizer.zero_grad();
    // dontcare is the number behind the classes
    Variable loss = cross_entropy((*segmenter)(Variable(batch.image)), batch.labels, options.model.label_nc);
    loss.backward();
    optimizer.step();
    entry = {.step = step, .epoch = epoch, .losses = {{"cross_entropy", loss.value().item()}}, .lr = optimizer.lr()};
    ASAP_CHECK(std::isfinite(entry.losses[0].second), "segmenter: the loss of step ", step,
               " is not finite; try a lower --lr");
    entry.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    progress.update(entry, "", step % 100 == 0);
    done = step;
  }
  const std::string size =
      size_text(static_cast<int>(options.model.crop_size), static_cast<int>(options.model.height()));
  nn::write_safetensors(t.out, segmenter->state_dict(),
                        {{"format", "pt"},
                         {"network", "segmenter"},
                         {"classes", std::to_string(options.model.label_nc)},
                         {"size", size}});
  return done;
}

}  // namespace asap::train
