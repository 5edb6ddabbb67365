// asapnet generate and asapnet encode. Declared in cli.h; the work is generate.h's.
#include <CLI/CLI.hpp>

#include "train/cli/cli.h"
#include "train/cli/rank_flags.h"
#include "train/cli/weight_flags.h"
#include "train/infer/generate.h"
#include "train/options/resolve.h"
#include "train/ranks/mpi.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGenerateFooter = R"(Examples:
  asapnet generate --labels map.png --out picture.png                         with the built-in model of synthetic facades
  asapnet generate --weights runs/facades --out pictures                      the run's dataset, phase test
  asapnet generate --weights runs/facades --labels maps --out pictures        every label map of a folder
  asapnet generate --weights runs/facades --labels map.png --size native --out picture.png   as large as the map
  asapnet generate --weights latest_net_G.pth --labels map.png --size 512 --raw --out pictures
  asapnet generate --weights latest_net_G.pth --preset cityscapes256 --labels maps --instances ids --out pictures
A run or our own .safetensors file knows its configuration. From an official .pth file it is read off the shapes; what
they cannot tell is assumed and printed, and flags decide it. Label maps are resized to the training size, unless --size
or --preprocess says otherwise; --size native extends them by reflection to whole tiles and cuts the picture back.
Label maps that cannot be used are listed at the end, with exit code 1, when all others are done.)";

constexpr const char* kEncodeFooter = R"(Example:
  asapnet encode --weights runs/vae --images photos --out codes)";

std::vector<fs::path> paths(const std::vector<std::string>& texts) { return {texts.begin(), texts.end()}; }

struct GenerateCommand {
  WeightFlags weights;
  std::vector<std::string> labels;
  std::string instances, out, size, precision = "f32";
  bool raw = false;

  // What does nothing, told before the weights are read.
  void refuse_idle() const {
    const OptionFlags& given = weights.options;
    for (const auto& [key, flag] : {std::pair{"dataset_mode", "--dataset"},
                                    {"dataroot", "--data"},
                                    {"phase", "--phase"},
                                    {"label_dir", "--label-dir"},
                                    {"instance_dir", "--instance-dir"},
                                    {"split_file", "--split-file"}})
      refuse_if(!labels.empty() && given.given(key), flag, "with --labels, which takes the place of a data set");
    for (const auto& [key, flag] : {std::pair{"image_dir", "--image-dir"},
                                    {"image_prefix", "--image-prefix"},
                                    {"image_suffix", "--image-suffix"}})
      refuse_if(given.given(key), flag, "on generate, which needs no photos");
    refuse_if(labels.empty() && !instances.empty(), "--instances", "without --labels: a data set has its own");
    refuse_if(given.given("load_size") && !given.given("preprocess_mode"), "--load-size", "without --preprocess");
    if (given.given("preprocess_mode") && !size.empty()) throw UsageError("--size and --preprocess exclude each other");
  }

  int run() const {
    refuse_idle();
    const PictureSize wanted = size.empty() ? PictureSize() : parse_size(size);
    // For --labels they say how its files are named and which half of them is the input.
    static const std::vector<std::string> kNaming{"label_prefix", "label_suffix", "instance_prefix", "instance_suffix",
                                                  "direction"};
    const WeightSource source = weights.find(labels.empty() ? std::vector<std::string>() : kNaming);
    weights.refuse_codes(source.options.model);
    Options named;
    weights.options.apply(named);
    const auto if_given = [&](const char* key, const std::string& value) {
      return weights.options.given(key) ? value : std::string();
    };
    const TrainOptions& o = named.train;
    generate(source, {.labels = paths(labels),
                      .instances = instances,
                      .label_affixes = {if_given("label_prefix", o.label_prefix), if_given("label_suffix", o.label_suffix)},
                      .instance_affixes = {if_given("instance_prefix", o.instance_prefix),
                                           if_given("instance_suffix", o.instance_suffix)},
                      .labels_half = weights.options.given("direction") ? input_half(o) : Half::none,
                      .out = out,
                      .pictures = {.size = wanted,
                                   .keep_preprocess = weights.options.given("preprocess_mode"),
                                   .raw = raw,
                                   .precision = parse_precision(precision)}},
             program_ranks());
    return kOk;
  }
};

struct EncodeCommand {
  WeightFlags weights;
  std::vector<std::string> images;
  std::string out;

  int run() const {
    encode(weights.find(), paths(images), out);
    return kOk;
  }
};

}  // namespace

Command add_generate_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand("generate", "Make pictures from label maps with trained weights");
  auto command = std::make_shared<GenerateCommand>();
  app->add_option("--labels", command->labels, "label maps: PNG files or a folder")->type_name("PATH");
  app->add_option("--instances", command->instances, "instance maps for --labels: a file or a folder")
      ->type_name("PATH");
  app->add_option("--out", command->out, "folder for the pictures, NAME.png; for one label map also the picture's file")
      ->type_name("DIR")
      ->required();
  app->add_option("--size", command->size,
                  "size of the pictures instead of the training size: 512, 512x256 (width x height), or native: each "
                  "label map's own, whatever it is")
      ->type_name("WxH");
  app->add_option("--precision", command->precision, kPrecisionHelp)->type_name("NAME")->default_str("f32");
  app->add_flag("--raw", command->raw, "also write NAME.npy: float32 [3,H,W] in [-1,1]");
  command->weights.add_seed_to(*app);
  command->weights.add_to(*app, {OptionGroup::data, OptionGroup::input, OptionGroup::generator, OptionGroup::encoder});
  WeightFlags::default_to_built_in(*app);
  add_rank_flags(*app);
  for (const char* refused : {"--image-dir", "--image-prefix", "--image-suffix"}) app->get_option(refused)->group("");
  app->footer(kGenerateFooter);
  return {app, [command] { return command->run(); }};
}

Command add_encode_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("encode", "Turn pictures into codes (mu, logvar) with a run's variational encoder");
  auto command = std::make_shared<EncodeCommand>();
  app->add_option("--images", command->images, "pictures: files or a folder")->type_name("PATH")->required();
  app->add_option("--out", command->out, "folder for NAME_mu.npy and NAME_logvar.npy, float32 [z_dim]")
      ->type_name("DIR")
      ->required();
  command->weights.add_to(*app, {OptionGroup::input, OptionGroup::encoder});
  app->footer(kEncodeFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
