// asapnet export and asapnet convert. Declared in cli.h; the work is onnx_generator.h's and convert.h's.
#include <CLI/CLI.hpp>
#include <iostream>

#include "train/cli/cli.h"
#include "train/cli/weight_flags.h"
#include "train/data/native_size.h"
#include "train/export/convert.h"
#include "train/export/onnx_generator.h"
#include "train/files/user_text.h"

namespace asap::train {
namespace {

constexpr const char* kExportFooter = R"(Examples:
  asapnet export --weights runs/facades --onnx facades.onnx                 label maps of any size in whole tiles
  asapnet export --weights runs/facades --onnx facades.onnx --output u8     pictures as generate saves them
  asapnet export --weights latest_net_G.pth --onnx G.onnx --size 512 --dtype f16
docs/deploy.md says what goes in and comes out, and how ONNX Runtime and OpenVINO run it.)";

constexpr const char* kConvertFooter = R"(Examples:
  asapnet convert latest_net_G.pth latest_net_G.safetensors
  asapnet convert runs/facades facades.safetensors --dtype bf16     the generator of a run, for generate --weights
  asapnet convert runs/facades D.safetensors --network D            the published keys, for PyTorch, too
  asapnet convert latest_net_G.pth G.safetensors --network G --preset facades512   with its configuration inside)";

// One of the words, which `flag` takes; UsageError otherwise.
template <class T>
T choice(const std::string& flag, const std::string& text, const std::vector<std::pair<std::string, T>>& words) {
  std::string all;
  for (const auto& [word, value] : words) {
    if (word == text) return value;
    all += (all.empty() ? "" : " or ") + word;
  }
  throw UsageError(flag + ": expected " + all + ", got '" + text + "'");
}

struct ExportCommand {
  WeightFlags weights;
  std::string onnx, size, dtype = "f32", input = "labels", output = "f32";

  int run() const {
    OnnxOptions options{
        .input = choice<OnnxInput>("--input", input, {{"labels", OnnxInput::labels}, {"one-hot", OnnxInput::one_hot}}),
        .output = choice<asapnet::SessionOutput>(
            "--output", output, {{"f32", asapnet::SessionOutput::values}, {"u8", asapnet::SessionOutput::picture}}),
        .stored = parse_weight_dtype(dtype)};
    const PictureSize wanted = size.empty() ? PictureSize() : parse_size(size);
    refuse_if(wanted.native, "--size native", "on export, whose graph takes any size in whole tiles");
    options.height = wanted.height, options.width = wanted.width;
    const WeightSource source = weights.find();
    if (!size.empty()) check_network_size(source.options.model, wanted.height, wanted.width, "--size");
    export_onnx(source, onnx, options);
    std::cout << terminal_safe(onnx) << std::endl;
    return kOk;
  }
};

struct ConvertCommand {
  std::string from, to, network, dtype;
  OptionFlags options;

  int run() const {
    ConvertOptions wanted{.wishes = {[this](Options& o) { options.apply(o); },
                                     [this](const OptionField& field) { return options.origin(field); }}};
    if (!network.empty())
      wanted.network = choice<NetworkKind>(
          "--network", network,
          {{"G", NetworkKind::generator}, {"D", NetworkKind::discriminator}, {"E", NetworkKind::encoder}});
    if (!dtype.empty()) wanted.dtype = parse_weight_dtype(dtype);
    Options all;
    for (const OptionField& field : option_fields(all))
      refuse_if(network != "G" && options.given(field.key), field.flag, "without --network G");
    refuse_if(network != "G" && !options.preset().empty(), "--preset", "without --network G");
    refuse_if(network != "G" && !options.config_file().empty(), "--config", "without --network G");
    convert(from, to, wanted);
    std::cout << terminal_safe(to) << std::endl;
    return kOk;
  }
};

}  // namespace

Command add_export_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("export", "Write a generator as an ONNX file, for ONNX Runtime, OpenVINO and others");
  auto command = std::make_shared<ExportCommand>();
  app->add_option("--onnx", command->onnx, "the file to write, NAME.onnx")->type_name("FILE")->required();
  app->add_option("--size", command->size,
                  "pictures of one size, 512 or 512x256 (width x height), instead of any in whole tiles")
      ->type_name("WxH");
  app->add_option("--dtype", command->dtype, kWeightDTypeHelp)->type_name("NAME")->default_str("f32");
  app->add_option("--input", command->input, "labels: class numbers; one-hot: all input channels as they are")
      ->type_name("NAME")
      ->default_str("labels");
  app->add_option("--output", command->output, "f32: [N,3,H,W] in [-1,1]; u8: [N,H,W,3], as generate saves it")
      ->type_name("NAME")
      ->default_str("f32");
  command->weights.add_to(*app, {OptionGroup::input, OptionGroup::generator, OptionGroup::encoder});
  for (const char* idle : {"--device", "--threads"}) app->remove_option(app->get_option(idle));
  app->footer(kExportFooter);
  return {app, [command] { return command->run(); }};
}

Command add_convert_command(CLI::App& program) {
  CLI::App* app = program.add_subcommand(
      "convert", "Write weights as .safetensors: of a .pth file, of a run, or in half the bytes");
  auto command = std::make_shared<ConvertCommand>();
  app->add_option("from", command->from, ".pth or .safetensors file, run folder or checkpoint folder")->required();
  app->add_option("to", command->to, ".safetensors file to write")->required();
  app->add_option(
         "--network", command->network,
         "that network alone, under its own names: G, D or E (the encoder); of a folder G, of a file all its tensors")
      ->type_name("NAME");
  app->add_option("--dtype", command->dtype, std::string(kWeightDTypeHelp) + "; default: as they are")
      ->type_name("NAME");
  command->options.add_to(*app, {OptionGroup::input, OptionGroup::generator}, Defaults::hidden);
  app->footer(kConvertFooter);
  return {app, [command] { return command->run(); }};
}

}  // namespace asap::train
