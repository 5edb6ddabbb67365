// asapnet evaluate. Declared in cli.h; the work is evaluate.h's.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "tensor/threads.h"
#include "train/cli/cli.h"
#include "train/cli/rank_flags.h"
#include "train/cli/weight_flags.h"
#include "train/infer/evaluate.h"
#include "train/options/nearest.h"
#include "train/ranks/mpi.h"

namespace asap::train {
namespace {

constexpr const char* kFooter = R"(Metrics (docs/evaluate.md has their definitions and what they cannot tell):
  psnr          pixels against the photo's, in dB; larger is closer
  ssim          structure in windows of 11x11 pixels; 1 is equal
  ms-ssim       the same on five scales, for pictures of at least 176 pixels a side
  lpips         features against the photo's, place by place; 0 is equal. Needs --lpips-backbone and --lpips-heads
  seams         differences across the borders of tiles over those elsewhere; 1 is no seam. The photos' own stands beside
  segmentation  whether a network finds the label map's classes in the picture: pixel_accuracy, class_accuracy and mean_iou,
                1 is all. The photos' own stand beside. Needs --segmenter, which asapnet segmenter trains
  frechet       distance of the pictures' and the photos' distribution of features; 0 is equal. Needs many pictures
  kernel        the same by a kernel (KID), unbiased for few pictures too; around 0 is equal
The last two need a network's features: --features takes MobileNetV2 or SqueezeNet 1.1 of torchvision, or pytorch-fid's
Inception-v3. A number of features is printed with the network's name and the file's checksum: compare it with numbers of
the same file and as many pictures only.
Examples:
  asapnet evaluate --weights runs/facades                                the run's dataset, phase test
  asapnet evaluate --weights runs/facades/checkpoints/best --metrics psnr,ssim --out runs/facades/scores.json
  asapnet evaluate --weights latest_net_G.pth --data CMP --features pt_inception-2015-12-05-6726825d.pth
  asapnet evaluate --weights runs/facades --lpips-backbone alexnet-owt-7be5be79.pth --lpips-heads alex.pth
  asapnet evaluate --weights runs/facades --segmenter facades_segmenter.safetensors
  asapnet evaluate --pictures made --references photos --tile 16          two folders with equal names)";

struct EvaluateCommand {
  WeightFlags weights;
  std::vector<std::string> metrics;
  std::string features, lpips_backbone, lpips_heads, segmenter, out, size, precision = "f32", pictures, references;
  int tile = 0;
  const CLI::App* app = nullptr;

  EvaluateOptions options() const {
    const std::set<std::string> asked(metrics.begin(), metrics.end());
    for (const std::string& metric : metrics) {
      try {
        check_metric(metric, "--metrics");
      } catch (const Error& error) {
        throw UsageError(error.what());
      }
    }
    const auto refuse_unused = [&](bool given, const char* flag, const std::set<std::string>& users,
                                   const char* names) {
      const bool used =
          asked.empty() || std::any_of(users.begin(), users.end(), [&](const auto& u) { return asked.contains(u); });
      refuse_if(given && !used, flag, str("without ", names, " among --metrics"));
    };
    refuse_unused(!features.empty(), "--features", {"frechet", "kernel"}, "frechet or kernel");
    refuse_unused(!lpips_backbone.empty(), "--lpips-backbone", {"lpips"}, "lpips");
    refuse_unused(!lpips_heads.empty(), "--lpips-heads", {"lpips"}, "lpips");
    refuse_unused(!segmenter.empty(), "--segmenter", {"segmentation"}, "segmentation");
    refuse_unused(tile != 0, "--tile", {"seams"}, "seams");
    return {.judge = {.metrics = asked,
                      .features = features,
                      .lpips_backbone = lpips_backbone,
                      .lpips_heads = lpips_heads,
                      .segmenter = segmenter},
            .out = out};
  }

  int run_on_folders() const {
    if (pictures.empty() || references.empty())
      throw UsageError("--pictures DIR and --references DIR belong together; give both");
    for (const CLI::Option* option : app->get_options()) {
      static const std::set<std::string> kUsed{"--help", "--metrics", "--features", "--lpips-backbone", "--lpips-heads",
                                               "--out",  "--tile",    "--pictures", "--references",     "--threads",
                                               "--ranks", "--rank-timeout"};
      refuse_if(option->count() > 0 && !kUsed.contains(option->get_name()), option->get_name(),
                "with --pictures and --references");
    }
    if (app->get_option("--tile")->count() > 0 && tile < 2)
      throw UsageError(str("--tile: expected 2 or more pixels, got ", tile));
    const EvaluateOptions chosen = options();
    ASAP_CHECK(weights.threads >= 0, "--threads: expected 0 (one a core) or more, got ", weights.threads);
    if (weights.threads > 0) set_num_threads(static_cast<int>(weights.threads));
    evaluate_folders(pictures, references, tile, chosen, program_ranks());
    return kOk;
  }

  int run() const {
    if (!pictures.empty() || !references.empty()) return run_on_folders();
    if (weights.weights.empty())
      throw UsageError("nothing to evaluate: give --weights PATH, or --pictures DIR and --references DIR");
    const OptionFlags& given = weights.options;
    refuse_if(tile != 0, "--tile", "with --weights, which know their tiles");
    refuse_if(given.given("load_size") && !given.given("preprocess_mode"), "--load-size", "without --preprocess");
    if (given.given("preprocess_mode") && !size.empty()) throw UsageError("--size and --preprocess exclude each other");
    const EvaluateOptions chosen = options();
    const PictureOptions form{.size = size.empty() ? PictureSize() : parse_size(size),
                              .keep_preprocess = given.given("preprocess_mode"),
                              .precision = parse_precision(precision)};
    const WeightSource source = weights.find();
    weights.refuse_codes(source.options.model);
    evaluate(source, form, chosen, program_ranks());
    return kOk;
  }
};

}  // namespace

Command add_evaluate_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("evaluate", "Judge a trained generator, or a folder of pictures, by numbers");
  auto command = std::make_shared<EvaluateCommand>();
  command->app = app;
  app->add_option("--metrics", command->metrics, "which numbers, with commas between; all that can be had unless given")
      ->type_name("NAMES")
      ->delimiter(',');
  app->add_option("--features", command->features, "weights of the network whose features frechet and kernel compare")
      ->type_name("FILE");
  app->add_option("--lpips-backbone", command->lpips_backbone, "weights of the network that lpips compares by")
      ->type_name("FILE");
  app->add_option("--lpips-heads", command->lpips_heads, "weights of its layers in lpips")->type_name("FILE");
  app->add_option("--segmenter", command->segmenter,
                  "network that tells the classes for segmentation (asapnet segmenter)")
      ->type_name("FILE");
  app->add_option("--out", command->out, "also write the numbers, and those of each picture, as JSON")
      ->type_name("FILE.json");
  app->add_option("--pictures", command->pictures, "instead of --weights: a folder of finished pictures")
      ->type_name("DIR");
  app->add_option("--references", command->references, "what --pictures are compared with: equal names, equal sizes")
      ->type_name("DIR");
  app->add_option("--tile", command->tile, "side of the tiles of --pictures, for seams")->type_name("N");
  app->add_option("--size", command->size, "size of the pictures, as for generate: 512, 512x256 or native")
      ->type_name("WxH");
  app->add_option("--precision", command->precision, kPrecisionHelp)->type_name("NAME")->default_str("f32");
  command->weights.add_seed_to(*app);
  command->weights.add_to(*app, {OptionGroup::data, OptionGroup::input, OptionGroup::generator, OptionGroup::encoder});
  app->get_option("--weights")->required(false);
  add_rank_flags(*app);
  app->footer(kFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
