// asapnet evaluate. Declared in cli.h; the work is evaluate.h's.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "tensor/threads.h"
#include "train/cli/cli.h"
#include "train/infer/evaluate.h"
#include "train/cli/weight_flags.h"
#include "train/options/nearest.h"

namespace asap::train {
namespace {

constexpr const char* kFooter = R"(Metrics (docs/evaluate.md has their definitions and what they cannot tell):
  psnr      pixels against the photo's, in dB; larger is closer
  ssim      structure in windows of 11x11 pixels; 1 is equal
  ms-ssim   the same on five scales, for pictures of at least 176 pixels a side
  seams     differences across the borders of tiles over those elsewhere; 1 is no seam. The photos' own stands beside
  frechet   distance of the pictures' and the photos' distribution of features; 0 is equal. Needs many pictures
  kernel    the same by a kernel (KID), unbiased for few pictures too; around 0 is equal
The last two need a network's features: --features takes torchvision's MobileNetV2 or SqueezeNet 1.1, and the number is
printed with the network's name and checksum. It is no "FID", which is by definition of Inception features: compare it
with numbers of the same file and as many pictures only.
Examples:
  asapnet evaluate --weights runs/facades                                the run's dataset, phase test
  asapnet evaluate --weights runs/facades --metrics psnr,ssim --out runs/facades/scores.json
  asapnet evaluate --weights latest_net_G.pth --data CMP --features mobilenet_v2.pth
  asapnet evaluate --pictures made --references photos --tile 16          two folders with equal names)";

struct EvaluateCommand {
  WeightFlags weights;
  std::vector<std::string> metrics;
  std::string features, out, size, precision = "f32", pictures, references;
  int tile = 0;
  const CLI::App* app = nullptr;

  EvaluateOptions options() const {
    EvaluateOptions result{.metrics = {metrics.begin(), metrics.end()}, .features = features, .out = out};
    for (const std::string& metric : metrics) {
      const auto& names = metric_names();
      if (std::find(names.begin(), names.end(), metric) == names.end()) {
        std::string all;
        for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
        throw UsageError("--metrics: expected some of " + all + ", got '" + metric + "'");
      }
    }
    const auto& asked = result.metrics;
    refuse_if(!features.empty() && !asked.empty() && !asked.contains("frechet") && !asked.contains("kernel"),
              "--features", "without frechet or kernel among --metrics");
    refuse_if(tile != 0 && !asked.empty() && !asked.contains("seams"), "--tile", "without seams among --metrics");
    return result;
  }

  int run_on_folders() const {
    if (pictures.empty() || references.empty())
      throw UsageError("--pictures DIR and --references DIR belong together; give both");
    for (const CLI::Option* option : app->get_options()) {
      static const std::set<std::string> kUsed{"--help", "--metrics",  "--features",   "--out",
                                               "--tile", "--pictures", "--references", "--threads"};
      refuse_if(option->count() > 0 && !kUsed.contains(option->get_name()), option->get_name(),
                "with --pictures and --references");
    }
    if (app->get_option("--tile")->count() > 0 && tile < 2)
      throw UsageError(str("--tile: expected 2 or more pixels, got ", tile));
    const EvaluateOptions chosen = options();
    ASAP_CHECK(weights.threads >= 0, "--threads: expected 0 (one a core) or more, got ", weights.threads);
    if (weights.threads > 0) set_num_threads(static_cast<int>(weights.threads));
    evaluate_folders(pictures, references, tile, chosen);
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
    evaluate(source, form, chosen);
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
  app->footer(kFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
