// asapnet segmenter. Declared in cli.h; the work is train_segmenter.h's.
#include <CLI/CLI.hpp>
#include <iostream>

#include "train/cli/cli.h"
#include "train/cli/option_flags.h"
#include "train/files/user_text.h"
#include "train/options/resolve.h"
#include "train/run/interrupt.h"
#include "train/run/train_segmenter.h"

namespace asap::train {
namespace {

constexpr const char* kFooter = R"(Examples:
  asapnet segmenter --data CMP --crop-size 256 --out facades_segmenter.safetensors
  asapnet segmenter --config runs/mine/config.json --out mine.safetensors       the data and the size of a run
  asapnet evaluate --weights runs/mine --segmenter mine.safetensors
It learns on the photos of phase train at the size of --crop-size; judge pictures of that size with it.)";

struct SegmenterCommand {
  OptionFlags flags;
  SegmenterTraining training;
  std::string out;
  int64_t seed = 0, threads = 0, workers = 2;

  int run() {
    Options options;
    options.model.learned_ds_factor = 2;  // any crop size from 32 on
    flags.apply(options);
    options.model.no_instance_edge = options.model.no_instance_dist = true;  // classes are told from the photo alone
    options.train.seed = seed;
    options.train.threads = threads;
    options.train.nThreads = workers;
    resolve(options);
    flags.tell_idle(options);
    training.out = out;
    InterruptGuard interrupt;
    interrupt.training_begins();
    const int64_t steps = train_segmenter(options, training, [&] { return interrupt.requested(); });
    if (steps < training.steps) {
      std::cout << "stopped after step " << steps << " of " << training.steps << "; " << terminal_safe(out)
                << " has what was learned so far" << std::endl;
      return kInterruptedExitCode;
    }
    std::cout << terminal_safe(out) << ": " << options.model.label_nc
              << " classes; use it with: asapnet evaluate --weights RUN --segmenter " << shell_quoted(out) << std::endl;
    return kOk;
  }
};

}  // namespace

Command add_segmenter_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("segmenter", "Train a network that tells the classes in photos, to judge generators by");
  auto command = std::make_shared<SegmenterCommand>();
  SegmenterTraining& t = command->training;
  app->add_option("--out", command->out, "the network's file")->type_name("FILE.safetensors")->required();
  app->add_option("--steps", t.steps, "batches to learn from")->type_name("N")->default_str(std::to_string(t.steps));
  app->add_option("--batch-size", t.batch_size, "pictures a step")
      ->type_name("N")
      ->default_str(std::to_string(t.batch_size));
  app->add_option("--lr", t.lr, "highest learning rate")->type_name("X")->default_str("0.002");
  app->add_option("--width", t.width, "channels at half the size")
      ->type_name("N")
      ->default_str(std::to_string(t.width));
  app->add_option("--levels", t.levels, "how often the sides are halved")
      ->type_name("N")
      ->default_str(std::to_string(t.levels));
  app->add_option("--seed", command->seed, "of weights, order and crops")->type_name("N")->default_str("0");
  app->add_option("--threads", command->threads, "threads that compute; 0: one a core")
      ->type_name("N")
      ->default_str("0");
  app->add_option("--workers", command->workers, "threads that load pictures")->type_name("N")->default_str("2");
  command->flags.add_to(*app, {OptionGroup::data, OptionGroup::input}, Defaults::hidden);
  app->footer(kFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
