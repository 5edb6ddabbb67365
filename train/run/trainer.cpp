// The training loop. Declared in trainer.h.
#include "train/run/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <optional>

#include "nn/checkpoint_file.h"
#include "tensor/precision.h"
#include "tensor/threads.h"
#include "train/data/batch.h"
#include "train/data/random.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/options/resolve.h"
#include "train/pictures/image_files.h"
#include "train/run/architecture.h"
#include "train/run/interrupt.h"
#include "train/run/memory_advice.h"
#include "train/run/report.h"
#include "train/run/shared_state.h"

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
  nn::CheckpointFile file(options.train.vgg);
  const nn::NetworkWeights weights(file, signature(NetworkKind::vgg));
  say_notes(file, weights);
  const nn::StateDict used = weights.read({"features.", "aux."});
  nn::check_finite(used, options.train.vgg);
  return std::make_shared<asapnet::Vgg19>(used, options.model.vgg_normalise, options.train.vgg);
}

// A run writes pictures too: within a folder of the data the next run would take its samples for more of them.
void check_outside_data(const TrainOptions& o, const fs::path& run) {
  std::vector<fs::path> folders{o.label_dir, o.image_dir, o.instance_dir};
  if (!o.dataroot.empty()) {
    for (const char* tail : {"", "_label", "_img", "_labels", "_images"})
      folders.push_back(fs::path(o.dataroot) / (o.phase + tail));
  }
  std::error_code ignored;
  for (fs::path above = fs::weakly_canonical(run, ignored); above != above.parent_path(); above = above.parent_path()) {
    for (const fs::path& folder : folders)
      ASAP_CHECK(folder.empty() || !fs::equivalent(above, folder, ignored), "train: --out ", run.string(), " lies in ",
                 folder.string(),
                 ", whose pictures are the data, and a run writes pictures too; choose a folder outside");
  }
}

std::vector<Pair> training_pairs(const Options& options, const fs::path& run, StartMode mode) {
  if (mode == StartMode::fresh) check_outside_data(options.train, run);
  DatasetOptions dataset = dataset_options(options);
  dataset.skip = {run};
  std::vector<Pair> pairs = list_pairs(dataset);
  const auto most = static_cast<size_t>(options.train.max_dataset_size);
  if (most > 0 && pairs.size() > most) pairs.resize(most);
  // Settings that no picture fits show at the first, before anything is made.
  make_batch({load_sample(pairs.front(), preprocess_options(options), {})}, options.model);
  return pairs;
}

LoaderOptions loader_options(const TrainOptions& o, const Ranks& ranks) {
  return {.batch_size = o.batchSize,
          .ranks = ranks.world(),
          .threads = static_cast<int>(o.nThreads),
          .seed = static_cast<uint64_t>(o.seed),
          .shuffle = !o.serial_batches,
          .flip = !o.no_flip};
}

void write_config(const fs::path& run, const Options& options) {
  write_file(run / "config.json", options_to_json(options));
}

void append(asapnet::LossValues& losses, const asapnet::LossValues& more) {
  losses.insert(losses.end(), more.begin(), more.end());
}

// What a resumed run must not change, as text by key.
std::map<std::string, std::string> fixed_settings(Options options) {
  std::map<std::string, std::string> settings;
  for (const OptionField& field : option_fields(options)) {
    if (!field.may_change_on_resume) settings[field.key] = to_text(field);
  }
  return settings;
}

// A fresh run takes the lock only when it begins to write: until then it must leave nothing in the folder.
std::unique_ptr<RunLock> lock_to_resume(const fs::path& run, StartMode mode) {
  if (std::error_code ignored; mode == StartMode::resume && fs::is_directory(run, ignored))
    return std::make_unique<RunLock>(run);
  check_not_in_use(run);
  if (mode == StartMode::fresh) check_free_for_new_run(run);
  return nullptr;
}

// Runs f; if the checkpoint is damaged, the error says what else there is.
template <class F>
auto or_other_checkpoint(const fs::path& checkpoint, F&& f) {
  try {
    return f();
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    const fs::path other = whole_checkpoint_beside(checkpoint);
    if (other.empty())
      fail(error.what(), "; there is no other complete checkpoint in ", checkpoint.parent_path().string());
    fail(error.what(), "; ", other.filename().string(), " is complete: go on from there with asapnet train --resume ",
         shell_quoted(other.string()));
  }
}

std::string new_run_from(const fs::path& checkpoint) {
  return str("begin a new run from these weights: --out DIR --init-g ",
             shell_quoted((checkpoint / "G.safetensors").string()), " --init-d ",
             shell_quoted((checkpoint / "D.safetensors").string()));
}

// The run's config.json may have been edited since.
void check_settings(const Options& options, const fs::path& run, const fs::path& checkpoint) {
  const auto before = or_other_checkpoint(checkpoint, [&] { return read_trainer_state(checkpoint); }).settings;
  const auto now = fixed_settings(options);
  for (const auto& [key, value] : before) {
    const auto place = now.find(key);
    ASAP_CHECK(place == now.end() || place->second == value, "train: ", (run / "config.json").string(), " says ", key,
               " = ", place->second, ", but ", checkpoint.string(), " was trained with ", value,
               ", and that cannot change when a run is resumed; set it back, or ", new_run_from(checkpoint));
  }
}

// `given`, or the run's latest.
fs::path checkpoint_to_resume(const Options& options, const fs::path& run, StartMode mode, const fs::path& given) {
  if (mode == StartMode::fresh) return {};
  const FoundCheckpoint found = given.empty() ? find_checkpoint(run) : FoundCheckpoint{given, ""};
  ASAP_CHECK(!found.folder.empty(), "train: ", run.string(), " has no checkpoint to resume from");
  if (!found.note.empty()) warn(found.note);
  check_settings(options, run, found.folder);
  return found.folder;
}

}  // namespace

Trainer::Trainer(const Options& options, const fs::path& run, StartMode mode, const fs::path& checkpoint, const Ranks& ranks)
    : options_(options),
      ranks_(ranks),
      run_(run),
      lock_(ranks.is_first() ? lock_to_resume(run, mode) : nullptr),
      start_(ranks.is_first() ? checkpoint_to_resume(options, run, mode, checkpoint) : fs::path()),
      device_(available_device(options.train.device)),
      pairs_(training_pairs(options, run, mode)),
      model_(make_model(options)),
      gan_(model_, optimizer_config(options.train), noise_seed(options.train)) {
  set_num_threads(static_cast<int>(options_.train.threads));
  load_start_weights();
  model_.to(device_);
  loader_ = std::make_unique<PrefetchLoader>(pairs_, preprocess_options(options_), loader_options(options_.train, ranks_));
  batches_per_epoch_ = loader_->batches_per_epoch() / options.train.accumulate;
  ASAP_CHECK(batches_per_epoch_ > 0, "train: --accumulate ", options.train.accumulate, ", but the data makes only ",
             loader_->batches_per_epoch(), " batches of ", options.train.batchSize);
  if (options.train.ema > 0) gan_.keep_average(options.train.ema);
  if (!start_.empty()) restore();
  plan_length();
  if (options_.train.eval_every.count > 0) examiner_ = std::make_unique<Examiner>(options_, run_);
}

void Trainer::join_ranks() {
  if (ranks_.alone()) return;
  check_same_program(ranks_);
  check_same_data(ranks_, pairs_);
  if (const std::string& vgg = options_.train.vgg; !vgg.empty())
    ranks_.check_alike("VGG-19 weights", "checksum " + file_checksum(vgg), "give all ranks the same file");
  share_state(ranks_, model_, gan_);
  step_ = saved_step_ = std::stoll(ranks_.broadcast(std::to_string(step_)));
  if (step_ == 0) saved_step_ = -1;
  gan_.share_steps(ranks_.world(), options_.train.reduce_dtype == "bf16" ? DType::bf16 : DType::f32);
}

// What rank 0 does for all; where it throws, all do.
void Trainer::first_alone(const std::function<void()>& work) {
  ranks_.together([&] {
    if (ranks_.is_first()) work();
  });
}


void Trainer::load_start_weights() {
  const TrainOptions& o = options_.train;
  if (!options_.model.no_vgg_loss) model_.set_vgg(load_vgg(options_));
  if (!start_.empty() || !ranks_.is_first()) return;
  if (!o.init_g.empty()) load_weights(o.init_g, model_.generator());
  if (!o.init_d.empty()) load_weights(o.init_d, model_.discriminator());
}

void Trainer::restore() {
  const TrainerState state = or_other_checkpoint(start_, [&] { return load_checkpoint(start_, model_, gan_); });
  ASAP_CHECK(state.batches_per_epoch == batches_per_epoch_, "train: ", run_.string(), " was trained with ",
             state.batches_per_epoch, " batches an epoch, but the data now makes ", batches_per_epoch_,
             "; resume needs the same pictures: bring back those that went and take out those that came, or ",
             new_run_from(start_));
  step_ = saved_step_ = state.step;
  if (state.ranks != ranks_.size())
    train::warn(str("trained by ", state.ranks, " rank", state.ranks == 1 ? "" : "s", " so far, and now by ", ranks_.size(),
             ": batches, order, noise and schedules stay the same, but sums are rounded differently, so that the weights will not be "
             "the very bits of a run without this change"));
}

void Trainer::open_folder() {
  if (!lock_) {
    make_folder(run_);
    lock_ = std::make_unique<RunLock>(run_);
    check_free_for_new_run(run_);  // another may have come and gone since the constructor looked
  }
  remove_unfinished_files(run_);
  write_config(run_, options_);
  log_ = std::make_unique<RunLog>(run_ / "log.jsonl", step_);
  if (!log_->warning().empty()) warn(log_->warning());
  if (options_.train.tensorboard)
    attempt("TensorBoard's events", [&] { board_ = std::make_unique<TensorBoard>(run_, options_, step_); });
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
  first_alone([&] { open_folder(); });
  if (step_ > 0 && o.eval_every.due(step_, batches_per_epoch_)) judge(stop);  // unless it was before the interruption
  while (step_ < total_steps_ && !ranks_.any(stop())) {
    if (profile_) profile_->begin_step();
    const LogEntry entry = train_step();
    attempt("the log", [&] {
      if (log_) log_->append(entry);
    });
    tell_board([&](TensorBoard& board) { board.add(entry); });
    const bool print_now = o.print_every.due(step_, batches_per_epoch_);
    progress_->update(entry, times_text(), print_now);
    if (profile_) attempt("the profile", [&] { progress_->tell(profile_->end_step()); });
    attempt("it", [] { ASAP_CHECK(std::cout, "standard output takes no more"); });
    if (step_ == total_steps_) break;
    const bool save_now = o.save_every.due(step_, batches_per_epoch_);
    times_.measure(RunPart::saving, [&] {
      if (save_now) {
        check_same_weights(ranks_, model_);
        first_alone([&] { save_on_the_way(); });
      }
      if (o.sample_every.due(step_, batches_per_epoch_)) write_samples();
      if (o.eval_every.due(step_, batches_per_epoch_)) judge(stop);
      if (save_now) refresh_report();
      if (print_now || save_now) tell_board(&TensorBoard::flush);
    });
  }
  if (const std::string lack = profile_ ? profile_->finish() : ""; !lack.empty()) warn(lack);
  const Outcome outcome = step_ < total_steps_ ? Outcome::interrupted : Outcome::finished;
  times_.measure(RunPart::saving, [&] {
    check_same_weights(ranks_, model_);
    first_alone([&] { save_at_the_end(); });
    if (outcome == Outcome::finished) {
      write_samples();
      judge([] { return false; });
      tell_board([](TensorBoard& board) { board.add_end(); });
    }
    tell_board(&TensorBoard::flush);
    refresh_report();
  });
  progress_.reset();
  return outcome;
}

LogEntry Trainer::train_step() {
  const auto begin = Clock::now();
  LogEntry entry{.step = step_ + 1, .epoch = epoch(), .losses = {}, .lr = 0, .seconds = 0};
  entry.lr = learning_rate();
  gan_.set_lr(entry.lr);
  const std::vector<asapnet::Batch> batches = times_.measure(RunPart::loading, [&] { return next_batches(); });
  try {
    entry.losses = optimise(batches);
  } catch (const OutOfMemory& error) {
    fail("step ", step_ + 1, ": ", error.what(), "; ", smaller_settings(options_, error.total()), "; ",
         last_checkpoint_text(run_));
  } catch (const std::bad_alloc&) {
    fail("step ", step_ + 1, ": out of memory; ", smaller_settings(options_, 0), "; ", last_checkpoint_text(run_));
  } catch (const asapnet::LossNotFinite& error) {  // on every rank
    const std::string text = str("step ", step_ + 1, ": ", error.what(), "; ", last_checkpoint_text(run_));
    if (!ranks_.alone()) throw SharedError(text);
    fail(text);
  } catch (const Error& error) {
    fail("step ", step_ + 1, ": ", error.what(), "; ", last_checkpoint_text(run_));
  }
  ++step_;
  times_.count_pictures(options_.train.batchSize * options_.train.accumulate);
  entry.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return entry;
}

double Trainer::learning_rate() const {
  const TrainOptions& o = options_.train;
  const double scheduled = nn::schedule::linear_decay(o.lr, epoch(), o.niter, o.niter_decay);
  return nn::schedule::warmup(scheduled, step_ + 1, o.warmup_steps);
}

// One generator step, then one discriminator step on the same batches, against the pictures of the updated generator.
asapnet::LossValues Trainer::optimise(const std::vector<asapnet::Batch>& batches) {
  const TrainOptions& o = options_.train;
  const ScopedPrecision precision(parse_precision(o.precision));
  asapnet::LossValues losses;
  if (step_ % o.D_steps_per_G == 0) {
    if (gan_.average()) gan_.average()->set_decay(nn::schedule::average_decay(o.ema, step_ / o.D_steps_per_G + 1));
    append(losses, times_.measure(RunPart::generator, [&] { return gan_.generator_step(batches); }));
  }
  append(losses, times_.measure(RunPart::discriminator, [&] { return gan_.discriminator_step(batches); }));
  return losses;
}

// A picture that cannot be loaded ends the run, but what was learned is saved first.
std::vector<asapnet::Batch> Trainer::next_batches() {
  std::vector<asapnet::Batch> batches;
  try {
    ranks_.together([&] { batches = load_batches(); });
  } catch (const std::exception& error) {
    if (step_ == 0) throw;
    const std::string text = str(error.what(), "; saved after step ", step_, ", so that --resume ", shell_quoted(run_.string()),
                                 " can go on once this is mended");
    first_alone([&] {
      save_at_the_end(str(error.what(), "; "));
      fail(text);
    });
  }
  return batches;
}

// Batches that make no whole step any more are left out at the end of an epoch, as pictures are that make no whole batch.
std::vector<asapnet::Batch> Trainer::load_batches() {
  const int64_t count = options_.train.accumulate;
  if (loading_epoch_ != epoch()) loader_->start_epoch(epoch(), step_ % batches_per_epoch_ * count);
  loading_epoch_ = epoch();
  std::vector<asapnet::Batch> batches;
  for (int64_t i = 0; i < count; ++i)
    batches.push_back(make_batch(loader_->next().value(), options_.model, device_));
  return batches;
}

void Trainer::save() {
  const SavingNow saving;
  attempt("the log", [&] { log_->sync(); });
  const TrainerState state{.step = step_,
                           .batches_per_epoch = batches_per_epoch_,
                           .noise_seed = gan_.noise().seed,
                           .noise_offset = gan_.noise().offset,
                           .lr = gan_.lr(),
                           .ranks = ranks_.size(),
                           .settings = fixed_settings(options_)};
  if (saved_step_ != step_) save_checkpoint(run_, model_, gan_, state);
  saved_step_ = step_;
  if (!options_.train.keep_checkpoints) remove_earlier_checkpoints(run_, step_);
}

// To go on unsaved loses nothing that ending here would keep, and the disk may have room again at the next save.
void Trainer::save_on_the_way() {
  try {
    check_savable();
  } catch (const Error& error) {
    fail(error.what(), "; ", last_checkpoint_text(run_));
  }
  try {
    save();
  } catch (const std::exception& error) {
    warn(str(error.what(), "; training goes on, and the next save tries again; ", last_checkpoint_text(run_)));
  }
}

void Trainer::save_at_the_end(const std::string& reason) {
  try {
    check_savable();
    save();
  } catch (const std::exception& error) {
    fail(reason, error.what(), "; what was learned up to step ", step_, " is not saved; ", last_checkpoint_text(run_));
  }
}

// Throws what no later save can mend.
void Trainer::check_savable() {
  check_weights(model_);
  lock_->keep();
}

// The same pictures every time, spread over the dataset, cropped at the centre: progress shows.
void Trainer::write_samples() {
  if (!ranks_.is_first()) return;
  attempt("these samples", [&] {
    const auto count = std::min(pairs_.size(), static_cast<size_t>(options_.train.samples));
    std::vector<Sample> samples;
    std::vector<Image> generated;
    std::optional<nn::UseAverage> average;
    if (gan_.average()) average.emplace(*gan_.average());
    for (size_t i = 0; i < count; ++i) {
      samples.push_back(load_sample(pairs_[i * pairs_.size() / count], preprocess_options(options_), {}));
      generated.push_back(to_image(model_.inference(make_batch({samples.back()}, options_.model, device_)), 0));
    }
    make_folder(run_ / "samples");
    const fs::path file = run_ / "samples" / (step_name(step_) + ".png");
    write_png(file, sample_grid(samples, generated, options_.model));
    if (board_) board_->add(SampleGrid{.step = step_, .file = file});
  });
}

// The numbers of this step's weights. One that is the best so far is saved before checkpoints/best names it.
void Trainer::judge(const std::function<bool()>& stop) {
  if (!examiner_) return;
  std::optional<ScoreEntry> scores;
  attempt("these scores", [&] { scores = scores_of_step(stop); });
  if (!scores) return;
  first_alone([&] {
    if (!examiner_->is_best(*scores)) return;
    save_on_the_way();
    if (saved_step_ != step_) return;
    attempt("a best checkpoint", [&] { examiner_->keep_best(*scores); });
    if (!options_.train.keep_checkpoints) remove_earlier_checkpoints(run_, step_);
  });
}

// From the log, where an interrupted run had come so far; else new ones, or nothing if `stop` says so on the way. What counts is
// rank 0's.
std::optional<ScoreEntry> Trainer::scores_of_step(const std::function<bool()>& stop) {
  ScoreEntry known;
  if (ranks_.is_first()) {
    for (const ScoreEntry& entry : read_scores(run_ / "log.jsonl"))
      if (entry.step == step_) known = entry;
  }
  if (ranks_.any(known.step == step_)) return known;
  std::optional<nn::UseAverage> average;
  if (gan_.average()) average.emplace(*gan_.average());
  const std::optional<ScoreEntry> scores = examiner_->examine(model_.generator(), step_, stop);
  if (!scores) return scores;
  progress_->tell(str("judged after step ", step_, ": ", examiner_->text(), "\n"));
  attempt("the log", [&] {
    if (log_) log_->append(*scores);
  });
  tell_board([&](TensorBoard& board) { board.add(*scores); });
  return scores;
}

void Trainer::refresh_report() {
  if (!ranks_.is_first()) return;
  attempt("the report", [&] { write_report({read_run(run_)}, run_ / "report.html"); });
}

void Trainer::tell_board(const std::function<void(TensorBoard&)>& work) {
  if (board_) attempt("TensorBoard's events", [&] { work(*board_); });
}

std::string Trainer::times_text() const {
  char speed[32];
  std::snprintf(speed, sizeof speed, "%.3g", times_.pictures_per_second());
  const auto waited = std::lround(100 * gan_.waited() / std::max(times_.total(), 1e-9));
  const auto for_ranks = std::lround(100 * gan_.waited_for_ranks() / std::max(times_.total(), 1e-9));
  return str(speed, " pictures/s: ", times_.shares(),
             device_ == Device::cpu ? "" : str("; the host waited for the card ", waited, " % of the time"),
             ranks_.alone() ? "" : str("; sums of gradients were waited for ", for_ranks, " % of the time"));
}

void Trainer::warn(const std::string& text) { progress_->warn(text); }

// What is not the training itself never ends it: the first failure of a kind is told.
void Trainer::attempt(const std::string& kind, const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    if (warned_.insert(kind).second) warn(str(error.what(), "; training goes on without ", kind));
  }
}

}  // namespace asap::train
