// asapnet inspect, convert and synth. Declared in cli.h; the work is inspect.h's and synth.h's.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "train/cli/cli.h"
#include "train/cli/inspect.h"
#include "train/files/user_text.h"
#include "train/synth/synth.h"

namespace asap::train {
namespace {

struct ConvertPaths {
  std::string from, to;
};

struct SynthCommand {
  std::string out;
  SynthOptions options;
};

}  // namespace

Command add_inspect_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("inspect", "Print keys, shapes, totals and configuration of a weight file or a run");
  auto path = std::make_shared<std::string>();
  app->add_option("path", *path, ".pth or .safetensors file, run folder or checkpoint folder")->required();
  app->footer("Example:\n  asapnet inspect latest_net_G.pth");
  return {app, [path] { return inspect(*path, std::cout), kOk; }};
}

Command add_convert_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("convert", "Write a PyTorch .pth file as .safetensors, with equal keys and values");
  auto paths = std::make_shared<ConvertPaths>();
  app->add_option("from", paths->from, ".pth (or .safetensors) file to read; of a run or checkpoint folder, its generator")->required();
  app->add_option("to", paths->to, ".safetensors file to write")->required();
  app->footer("Example:\n  asapnet convert latest_net_G.pth latest_net_G.safetensors");
  return {app, [paths] {
            std::error_code ignored;
            ASAP_CHECK(!std::filesystem::exists(paths->to, ignored), paths->to,
                       " is there already; convert writes over no weights: choose another name, or remove it first");
            convert(paths->from, paths->to);
            std::cout << terminal_safe(paths->to) << std::endl;
            return kOk;
          }};
}

Command add_synth_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "synth", "Make synthetic facades (label maps and photos) in the layout of the CMP base set");
  auto command = std::make_shared<SynthCommand>();
  SynthOptions& o = command->options;
  app->add_option("--out", command->out, "folder to write base/cmp_bNNNN.{png,jpg} and the split lists into")
      ->type_name("DIR")
      ->required();
  app->add_option("--count", o.count, "pairs")->type_name("N")->capture_default_str();
  app->add_option("--size", o.size, "pixels a side")->type_name("N")->capture_default_str();
  app->add_option("--seed", o.seed, "the same seed makes the same pictures")->type_name("N")->capture_default_str();
  app->add_option("--test-share", o.test_share, "part of the pairs held out for phase test")
      ->type_name("X")
      ->capture_default_str();
  app->add_option("--threads", o.threads, "0: one a core")->type_name("N")->capture_default_str();
  app->footer("Example:\n  asapnet synth --out data --count 200 --size 256");
  return {app, [command] {
            write_synthetic_facades(command->out, command->options);
            std::cout << command->options.count << " pairs in " << terminal_safe(command->out) << std::endl;
            return kOk;
          }};
}

}  // namespace asap::train
