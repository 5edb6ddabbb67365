// asapnet train. Declared in cli.h; the work is trainer.h's.
#include <CLI/CLI.hpp>
#include <iostream>

#include "tensor/backend.h"
#include "train/cli/cli.h"
#include "train/cli/option_flags.h"
#include "train/cli/rank_flags.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/options/resolve.h"
#include "train/ranks/mpi.h"
#include "train/run/interrupt.h"
#include "train/run/memory_advice.h"
#include "train/run/trainer.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFooter = R"(Examples:
  asapnet train --preset quick --data data --out runs/quick --no-vgg-loss --niter 20 --niter-decay 10
  asapnet train --preset facades256 --data CMP --out runs/facades --vgg vgg19.pth --batch-size 4
  asapnet train --preset cityscapes256 --dataset cityscapes --data CITYSCAPES --out runs/city --vgg vgg19.pth
  asapnet train --dataset custom --label-dir maps --image-dir photos --label-nc 8 --crop-size 256 \
                --reflection-pad --out runs/mine --no-vgg-loss --steps 5000 --save-every 500
  asapnet train --dataset custom --label-dir sketches --image-dir photos --no-one-hot --out runs/rgb --no-vgg-loss
  asapnet train --dataset aligned --data maps --direction AtoB --no-one-hot --out runs/maps --no-vgg-loss
  asapnet train --preset facades256 --data CMP --out runs/judged --vgg vgg19.pth --eval-every 10e --keep-best ssim
  asapnet train --resume runs/facades --niter 300 --tensorboard     then: tensorboard --logdir runs
Ctrl-C finishes the step, saves, and says how to resume; so do SIGTERM and a closed terminal (SIGHUP). OUT holds
config.json, log.jsonl, checkpoints/, samples/ and report.html.)";

// --resume takes a run, or one of its checkpoints to go on from.
struct ToResume {
  fs::path run, checkpoint;  // no checkpoint: the latest
};

ToResume parse_resume(const std::string& text) {
  const fs::path folder = named_checkpoint(fs::path(text + "/").lexically_normal().parent_path()),
                 checkpoints = folder.parent_path();
  if (checkpoints.filename() != "checkpoints" || !is_there(folder / "trainer.json")) return {text, {}};
  return {checkpoints.has_parent_path() ? checkpoints.parent_path() : ".", folder};
}

struct TrainCommand {
  OptionFlags flags;
  std::string out, resume;
  bool dry_run = false;
  int64_t profile = 0;

  int run() const;
  Options options_of(const Ranks& ranks) const;
  Options fresh_options() const;
  Options resumed_options() const;
};

Options TrainCommand::fresh_options() const {
  Options options;
  flags.apply(options);
  return options;
}

// How many ranks trained what is to be resumed; where that cannot be read, the trainer says why.
int ranks_so_far(const ToResume& resume) {
  try {
    return read_trainer_state(resume.checkpoint.empty() ? latest_checkpoint(resume.run) : resume.checkpoint).ranks;
  } catch (const Error&) {
    return program_ranks().size();
  }
}

// The run's own options; only what does not change the training so far may differ. Another number of ranks has cores of its own.
Options TrainCommand::resumed_options() const {
  if (!flags.preset().empty() || !flags.config_file().empty() || !out.empty()) {
    throw UsageError("--resume takes everything from the run: --preset, --config and --out do not go with it");
  }
  const fs::path run = parse_resume(resume).run, config = run / "config.json";
  ASAP_CHECK(is_there(config), "train: ", run.string(), " is no run folder: it has no config.json");
  Options options;
  options_from_json_file(config, options);
  for (const OptionField& field : option_fields(options)) {
    if (flags.given(field.key) && !field.may_change_on_resume)
      throw UsageError(field.flag + " cannot change when a run is resumed");
  }
  if (ranks_so_far(parse_resume(resume)) != program_ranks().size()) options.train.threads = 0;
  if (!flags.given("steps") && (flags.given("niter") || flags.given("niter_decay"))) options.train.steps = 0;
  flags.apply(options);
  return options;
}

// Each rank's own for a new run, which must be those of all; to resume, rank 0's.
Options TrainCommand::options_of(const Ranks& ranks) const {
  const bool resuming = !resume.empty();
  Options options;
  ranks.together([&] {
    if (resuming && !ranks.is_first()) return;
    options = resuming ? resumed_options() : fresh_options();
    resolve(options);
    flags.tell_idle(options);
    check_trainable(options);
    if (options.train.tensorboard) check_tensorboard_possible();
  });
  if (ranks.alone()) return options;
  ranks.check_alike("ways to begin", resuming ? "--resume " + resume : "--out " + out, "give all ranks the same command");
  if (resuming) options_from_json(ranks.broadcast(options_to_json(options)), "rank 0's options", options);
  for (const OptionField& field : option_fields(options))
    ranks.check_alike(field.flag + " values", to_text(field), "give all ranks the same command and the same files");
  return options;
}

// A model that does not even fit the device.
std::unique_ptr<Trainer> make_trainer(const Options& options, const fs::path& folder, StartMode mode,
                                      const fs::path& checkpoint, const Ranks& ranks) {
  try {
    return std::make_unique<Trainer>(options, folder, mode, checkpoint, ranks);
  } catch (const OutOfMemory& error) {
    fail(error.what(), "; ", smaller_settings(options, error.total()));
  } catch (const std::bad_alloc&) {
    fail("out of memory; ", smaller_settings(options, 0));
  }
}

// Refuses nothing: an estimate may err, and a machine may lend memory from its disk.
void tell_memory(Options options, const Ranks& ranks) {
  options.train.batchSize /= ranks.size();
  const MemoryNeed need = memory_need(options);
  std::cout << (ranks.alone() ? "needs " : str("each of ", ranks.size(), " ranks needs ")) << need.text << std::endl;
  const size_t card = options.train.device == "cuda" ? cuda_memory() : 0;
  if (need.too_large) warn("this does not fit; " + smaller_settings(options, card));
}

void print_settings(Options options) {
  for (const OptionField& field : option_fields(options))
    std::cout << "  " << field.key << " = " << terminal_safe(to_text(field)) << "\n";
}

int TrainCommand::run() const {
  if (out.empty() == resume.empty())
    throw UsageError("train needs either --out DIR for a new run or --resume DIR to continue one");
  InterruptGuard interrupt;
  const Ranks& ranks = program_ranks();
  const bool resuming = !resume.empty();
  const Options options = options_of(ranks);
  const auto [folder, checkpoint] = resuming ? parse_resume(resume) : ToResume{out, {}};
  std::unique_ptr<Trainer> made;
  ranks.together([&, folder = folder, checkpoint = checkpoint] {
    made = make_trainer(options, folder, resuming ? StartMode::resume : StartMode::fresh, checkpoint, ranks);
  });
  Trainer& trainer = *made;
  trainer.join_ranks();
  tell_memory(options, ranks);
  if (dry_run) print_settings(trainer.options());
  if (profile > 0 && ranks.is_first()) trainer.profile(profile);
  if (!dry_run) interrupt.training_begins();
  std::cout << (dry_run ? "would train in " : "training in ") << terminal_safe(folder.string()) << ": steps " << trainer.step()
            << " to " << trainer.total_steps() << ", " << trainer.batches_per_epoch() << " an epoch, " << options.train.threads
            << " thread(s)" << (ranks.alone() ? "" : str(" on each of ", ranks.size(), " ranks")) << std::endl;
  if (dry_run) return kOk;
  const Outcome outcome = trainer.train([&] { return interrupt.requested(); });
  std::cout << trainer.times_text() << "\n";
  if (outcome == Outcome::interrupted) {
    std::cout << "stopped after step " << trainer.step()
              << ", everything is saved; continue with: asapnet train --resume " << shell_quoted(folder.string())
              << std::endl;
    return kInterruptedExitCode;
  }
  std::cout << "finished after step " << trainer.step() << "; look at "
            << terminal_safe((folder / "report.html").string()) << ", use it with: asapnet generate --weights "
            << shell_quoted(folder.string()) << " --out DIR" << std::endl;
  return kOk;
}

}  // namespace

Command add_train_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("train", "Train a model on pairs of label maps and photos, or continue a run");
  auto command = std::make_shared<TrainCommand>();
  app->add_option("--out", command->out, "folder for the new run")->type_name("DIR");
  app->add_option("--resume", command->resume,
                  "folder of a run to continue exactly where it stopped, or of one of its checkpoints")
      ->type_name("DIR");
  app->add_flag("--dry-run", command->dry_run,
                "check settings, data and weights, print settings, memory and number of steps, and write nothing");
  app->add_option("--profile", command->profile,
                  "record so many steps: OUT/profile.json for chrome://tracing, and a table of what took the time")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber);
  command->flags.add_to(*app,
                        {OptionGroup::data, OptionGroup::loading, OptionGroup::input, OptionGroup::generator,
                         OptionGroup::discriminator, OptionGroup::encoder, OptionGroup::losses,
                         OptionGroup::optimisation, OptionGroup::start, OptionGroup::run, OptionGroup::judging},
                        Defaults::shown);
  add_rank_flags(*app);
  app->footer(kFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
