// The training loop. Declared in trainer.h.
#include "train/trainer.h"

#include <algorithm>
#include <chrono>

#include "nn/checkpoint_file.h"
#include "nn/file_io.h"
#include "tensor/precision.h"
#include "tensor/threads.h"
#include "train/batch.h"
#include "train/config_json.h"
#include "train/files.h"
#include "train/image_files.h"
#include "train/memory_advice.h"
#include "train/random.h"
#include "train/report.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

uint64_t noise_seed(const TrainOptions& options) {
  return hash_words({static_cast<uint64_t>(options.seed), /*purpose*/ 3});
}

asapnet::AsapNet make_model(const Options& options) {
  const auto spectral =
      options.train.spectral_init == "xavier" ? asapnet::SpectralInit::xavier : asapnet::SpectralInit::pytorch_default;
  return asapnet::AsapNet(options.model, static_cast<uint64_t>(options.train.seed), spectral);
}

std::shared_ptr<asapnet::Vgg19> load_vgg(const Options& options) {
  ASAP_CHECK(!options.train.vgg.empty(),
             "train: the perceptual loss needs VGG-19 weights: give them with --vgg FILE, or train without it by "
             "--no-vgg-loss");
  return std::make_shared<asapnet::Vgg19>(nn::read_state_dict(options.train.vgg), options.model.vgg_normalise,
                                          options.train.vgg);
}

std::vector<Pair> training_pairs(const Options& options, const fs::path& run) {
  DatasetOptions dataset = dataset_options(options);
  dataset.skip = {run};
  std::vector<Pair> pairs = list_pairs(dataset);
  const auto most = static_cast<size_t>(options.train.max_dataset_size);
  if (most > 0 && pairs.size() > most) pairs.resize(most);
  // Settings that no picture fits show at the first, before anything is made.
  make_batch({load_sample(pairs.front(), preprocess_options(options), {})}, options.model);
  return pairs;
}

LoaderOptions loader_options(const TrainOptions& o) {
  return {.batch_size = o.batchSize,
          .threads = static_cast<int>(o.nThreads),
          .seed = static_cast<uint64_t>(o.seed),
          .shuffle = !o.serial_batches,
          .flip = !o.no_flip};
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  ASAP_CHECK(!error, "train: the folder ", folder.string(), " cannot be made (", error.message(), ")");
}

void write_config(const fs::path& run, const Options& options) {
  const std::string text = options_to_json(options);
  write_file(run / "config.json", {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

void append(asapnet::LossValues& losses, const asapnet::LossValues& more) {
  losses.insert(losses.end(), more.begin(), more.end());
}

std::string step_name(int64_t step, const char* extension) {
  char name[48];
  std::snprintf(name, sizeof name, "step_%06lld%s", static_cast<long long>(step), extension);
  return name;
}

}  // namespace

Trainer::Trainer(const Options& options, const fs::path& run, StartMode mode)
    : options_(options),
      run_(run),
      device_(available_device(options.train.device)),
      pairs_(training_pairs(options, run)),
      model_(make_model(options)),
      gan_(model_, optimizer_config(options.train), noise_seed(options.train)) {
  set_num_threads(static_cast<int>(options_.train.threads));
  load_start_weights(mode);
  model_.to(device_);
  loader_ = std::make_unique<PrefetchLoader>(pairs_, preprocess_options(options_), loader_options(options_.train));
  batches_per_epoch_ = loader_->batches_per_epoch();
  if (mode == StartMode::resume) restore();
  plan_length();
  make_folder(run_ / "samples");
  write_config(run_, options_);
  log_ = std::make_unique<RunLog>(run_ / "log.jsonl", step_);
}

void Trainer::load_start_weights(StartMode mode) {
  const TrainOptions& o = options_.train;
  if (!options_.model.no_vgg_loss) model_.set_vgg(load_vgg(options_));
  if (mode == StartMode::resume) return;
  ASAP_CHECK(latest_checkpoint(run_).empty(), "train: ", run_.string(),
             " already holds a training run; continue it with --resume ", run_.string(), ", or choose another --out");
  if (!o.init_g.empty()) load_weights(o.init_g, model_.generator());
  if (!o.init_d.empty()) load_weights(o.init_d, model_.discriminator());
}

void Trainer::restore() {
  const fs::path checkpoint = latest_checkpoint(run_);
  ASAP_CHECK(!checkpoint.empty(), "train: ", run_.string(), " has no checkpoint to resume from");
  const TrainerState state = load_checkpoint(checkpoint, model_, gan_);
  ASAP_CHECK(state.batches_per_epoch == batches_per_epoch_, "train: ", run_.string(), " was trained with ",
             state.batches_per_epoch, " batches an epoch, but the data now makes ", batches_per_epoch_,
             "; resume needs the same pictures");
  step_ = state.step;
}

// Steps given beyond the epochs lengthen the part at full rate: the rate still falls to zero at the end.
void Trainer::plan_length() {
  TrainOptions& o = options_.train;
  const int64_t epochs_needed = (o.steps + batches_per_epoch_ - 1) / batches_per_epoch_;
  o.niter = std::max(o.niter, epochs_needed - o.niter_decay);
  total_steps_ = o.steps > 0 ? o.steps : (o.niter + o.niter_decay) * batches_per_epoch_;
  ASAP_CHECK(step_ <= total_steps_, "train: ", run_.string(), " has already done ", step_, " steps, more than the ",
             total_steps_, " asked for; give more --steps or --niter");
}

Outcome Trainer::train(const std::function<bool()>& stop) {
  const TrainOptions& o = options_.train;
  progress_ =
      std::make_unique<Progress>(step_, total_steps_, (total_steps_ + batches_per_epoch_ - 1) / batches_per_epoch_);
  loader_->start_epoch(epoch(), step_ % batches_per_epoch_);
  Outcome outcome = Outcome::finished;
  while (step_ < total_steps_) {
    const LogEntry entry = train_step();
    log_->append(entry);
    progress_->update(entry, o.print_every.due(step_, batches_per_epoch_));
    if (stop()) {
      outcome = Outcome::interrupted;
      break;
    }
    if (step_ == total_steps_) break;
    if (o.sample_every.due(step_, batches_per_epoch_)) write_samples();
    if (o.save_every.due(step_, batches_per_epoch_)) save();
  }
  progress_.reset();
  if (outcome == Outcome::finished) write_samples();
  save();
  return outcome;
}

LogEntry Trainer::train_step() {
  const auto begin = Clock::now();
  LogEntry entry{.step = step_ + 1, .epoch = epoch(), .losses = {}, .lr = 0, .seconds = 0};
  entry.lr = nn::schedule::linear_decay(options_.train.lr, epoch(), options_.train.niter, options_.train.niter_decay);
  gan_.set_lr(entry.lr);
  const asapnet::Batch batch = next_batch();
  try {
    entry.losses = optimise(batch);
  } catch (const OutOfMemory& error) {
    fail("step ", step_ + 1, ": ", error.what(), "; ", smaller_settings(options_, error), "; ", last_checkpoint_text(run_));
  } catch (const Error& error) {
    stop_at_bad_step(error);
  }
  ++step_;
  entry.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return entry;
}

// One generator step, then one discriminator step on the same batch, against the pictures of the updated generator.
asapnet::LossValues Trainer::optimise(const asapnet::Batch& batch) {
  const ScopedPrecision precision(parse_precision(options_.train.precision));
  asapnet::LossValues losses;
  if (step_ % options_.train.D_steps_per_G == 0) append(losses, gan_.generator_step(batch));
  append(losses, gan_.discriminator_step(batch));
  return losses;
}

// A picture that cannot be loaded ends the run, but what was learned is saved first.
asapnet::Batch Trainer::next_batch() {
  try {
    auto samples = loader_->next();
    if (!samples) {
      loader_->start_epoch(epoch());
      samples = loader_->next();
    }
    return make_batch(*samples, options_.model, device_);
  } catch (const Error& error) {
    if (step_ == 0) throw;
    save();
    fail(error.what(), "; saved after step ", step_, ", so that --resume ", run_.string(),
         " can go on once this is mended");
  }
}

void Trainer::stop_at_bad_step(const Error& error) {
  fail("step ", step_ + 1, ": ", error.what(), "; ", last_checkpoint_text(run_));
}

void Trainer::save() {
  log_->sync();
  const TrainerState state{.step = step_,
                           .batches_per_epoch = batches_per_epoch_,
                           .noise_seed = gan_.noise().seed,
                           .noise_offset = gan_.noise().offset,
                           .lr = gan_.lr()};
  save_checkpoint(run_, model_, gan_, state, options_.train.keep_checkpoints);
  refresh_report();
}

// The same pictures every time, spread over the dataset, cropped at the centre: progress shows.
void Trainer::write_samples() {
  const auto count = std::min(pairs_.size(), static_cast<size_t>(options_.train.samples));
  std::vector<Sample> samples;
  std::vector<Image> generated;
  for (size_t i = 0; i < count; ++i) {
    samples.push_back(load_sample(pairs_[i * pairs_.size() / count], preprocess_options(options_), {}));
    generated.push_back(to_image(model_.inference(make_batch({samples.back()}, options_.model, device_)), 0));
  }
  write_png(run_ / "samples" / step_name(step_, ".png"), sample_grid(samples, generated, options_.model));
}

void Trainer::refresh_report() {
  write_report(run_,
               {.options = options_, .pictures = static_cast<int64_t>(pairs_.size()), .total_steps = total_steps_});
}

}  // namespace asap::train
