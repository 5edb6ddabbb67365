// Weight files as other programs leave them: wrapped, half odd, without their configuration, damaged or hostile. What the
// program takes from them, what it says, and what it refuses.
#include <doctest/doctest.h>

#include <cmath>
#include <ctime>
#include <iostream>

#include "asapnet/discriminator.h"
#include "asapnet/generator.h"
#include "nn/layers.h"
#include "nn/safetensors.h"
#include "tensor/storage.h"
#include "tests/support/pth_builder.h"
#include "tests/support/run_program.h"
#include "tests/support/same_tensors.h"
#include "tests/support/tiny_run.h"
#include "train/cli/inspect.h"
#include "train/options/config_json.h"
#include "train/pictures/image_files.h"
#include "train/pictures/png.h"
#include "train/run/architecture.h"
#include "train/run/checkpoint.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

const fs::path kGolden = ASAP_GOLDEN_DIR;

// A .pth file of float tensors: each part of the path is a dict around the tensors, `prefix` begins their names.
struct Part {
  std::vector<std::string> path;
  std::string prefix;
  nn::StateDict tensors;
};

Bytes pth_of(const std::vector<Part>& parts) {
  std::vector<ZipEntry> entries{{"m/data.pkl", ""}};
  Bytes body = "}";
  for (const Part& part : parts) {
    Bytes dict = "}(";
    for (const auto& [name, value] : part.tensors) {
      const Bytes key = std::to_string(entries.size());
      const Shape strides = contiguous_strides(value.shape());
      dict += text(part.prefix + name) + tensor(storage("FloatStorage", key, value.numel()), 0,
                                                {value.shape().begin(), value.shape().end()},
                                                {strides.begin(), strides.end()});
      entries.push_back({"m/data/" + key, Bytes(static_cast<const char*>(value.raw()), value.bytes())});
    }
    dict += "u";
    for (size_t i = part.path.size(); i-- > 1;) dict = dict_of(part.path[i], dict);
    if (part.path.empty()) {
      body = dict;
    } else {
      body += text(part.path[0]) + dict + "s";
    }
  }
  entries[0].content = pickle(body);
  return zip_file(entries);
}

nn::StateDict golden_generator() {
  static const nn::StateDict state = nn::read_state_dict(kGolden / "latest_net_G.pth");
  return state;
}

nn::StateDict zeros_like(const nn::StateDict& state) {
  nn::StateDict zeros;
  for (const auto& [name, value] : state) zeros.set(name, Tensor::zeros(value.shape()));
  return zeros;
}

// A label map of the golden generator's five classes at its training size.
fs::path write_labels(const fs::path& path) {
  train::Image image(64, 64, 1);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i / 7 % 5);
  train::write_png(path, image);
  return path;
}

train::InferredConfig infer(const nn::CheckpointFile& file, const std::function<void(asapnet::Config&)>& overlay) {
  return train::infer_generator(file.contents().tensors(), "G.pth", overlay);
}

std::string inspected(const fs::path& file) {
  std::ostringstream out;
  train::inspect(file, out);
  return out.str();
}

void check_equal(const nn::StateDict& a, const nn::StateDict& b) {
  REQUIRE(a.size() == b.size());
  for (const auto& [name, value] : a) {
    REQUIRE_MESSAGE(b.contains(name), name);
    CHECK_MESSAGE(same(value, *b.find(name)), name);
  }
}

}  // namespace

TEST_CASE("case 01-wrapped-checkpoints: a wrapped file gives the bare file's picture and says what was taken off") {
  const ScratchFolder folder;
  const fs::path labels = write_labels(folder / "map.png");
  const nn::StateDict weights = golden_generator(), zeros = zeros_like(weights);
  const auto picture = [&](const fs::path& file, std::string& said) {
    const fs::path out = folder / "out";
    const Result result =
        run({"generate", "--weights", file.string(), "--labels", labels.string(), "--out", out.string()});
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    said = result.error;
    return read_text(out / "map.png");
  };
  std::string said;
  const std::string bare = picture(kGolden / "latest_net_G.pth", said);
  CHECK_FALSE(contains(said, "prefix"));

  struct Case {
    std::string name;
    std::vector<Part> parts;
    std::string said;
  };
  const std::vector<Case> cases = {
      {"state_dict", {{{"state_dict"}, "", weights}}, "took the prefix 'state_dict.' off"},
      {"model", {{{"model"}, "", weights}}, "took the prefix 'model.' off"},
      {"netG", {{{"netG"}, "", weights}}, "took the prefix 'netG.' off"},
      {"module", {{{}, "module.", weights}}, "took the prefix 'module.' off"},
      {"orig_mod", {{{}, "_orig_mod.", weights}}, "took the prefix '_orig_mod.' off"},
      {"both", {{{"state_dict"}, "module.", weights}}, "took the prefix 'state_dict.module.' off"},
      {"many",
       {{{"a", "generator"}, "module._orig_mod.module.", weights}},
       "took the prefix 'a.generator.module._orig_mod.module.' off"},
      {"averaged",
       {{{"params"}, "", zeros}, {{"params_ema"}, "", weights}},
       "left the same network under 'params.' alone"},
      {"with its optimiser",
       {{{"optimizer", "state"}, "", zeros}, {{"params"}, "", weights}},
       "took the prefix 'params.' off"},
      {"two nets", {{{"netD"}, "discriminator_0.", zeros}, {{"netG"}, "", weights}}, "took the prefix 'netG.' off"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    const fs::path file = folder / (c.name + ".pth");
    write_text(file, pth_of(c.parts));
    CHECK(picture(file, said) == bare);
    CHECK(contains(said, file.string() + ": " + c.said));
  }
  // Inside of the names: a part of the network was compiled or wrapped by itself.
  nn::StateDict inner;
  const std::string stream = "lowres_stream.";
  for (const auto& [name, value] : weights) inner.set(stream + "_orig_mod." + name.substr(stream.size()), value);
  write_text(folder / "inner.pth", pth_of({{{}, "", inner}}));
  CHECK(picture(folder / "inner.pth", said) == bare);
  CHECK(contains(said, "took 'module.' and '_orig_mod.' out of the names"));
  // Beside the weights, what is no part of the network: said, and none of its values are needed.
  std::vector<nn::RawTensor> with_strays{{"seed", "I64", {1}, {0, 0, 0, 0, 0, 1, 0, 0}},
                                         {"odd", "F8_E4M3", {3}, {1, 2, 3}}};
  for (const auto& [name, value] : weights) {
    const auto* bytes = static_cast<const uint8_t*>(value.raw());
    with_strays.push_back({name, "F32", {value.shape().begin(), value.shape().end()}, {bytes, bytes + value.bytes()}});
  }
  nn::write_safetensors(folder / "strays.safetensors", with_strays, {});
  CHECK(picture(folder / "strays.safetensors", said) == bare);
  CHECK(contains(said, "strays.safetensors: left 'seed', 'odd' alone, which are no part of the network"));
  with_strays.push_back(
      {"highres_stream.extra", "F32", {1}, {0, 0, 0, 0}});  // but another network is not taken for ours
  nn::write_safetensors(folder / "other.safetensors", with_strays, {});
  const Result other = run({"generate", "--weights", (folder / "other.safetensors").string(), "--labels",
                            labels.string(), "--out", (folder / "none").string()});
  CHECK(other.code == 1);
  CHECK(contains(other.error, "unexpected: highres_stream.extra (1)"));
  // What nothing tells apart is named, not guessed.
  write_text(folder / "two.pth", pth_of({{{"left"}, "", weights}, {{"right"}, "", weights}}));
  const Result two = run({"generate", "--weights", (folder / "two.pth").string(), "--labels", labels.string(), "--out",
                          (folder / "none").string()});
  CHECK(two.code == 1);
  CHECK(contains(two.error,
                 "two.pth: holds the network more than once, under 'left.', 'right.'; save the one to use alone"));
  CHECK_FALSE(fs::exists(folder / "none"));
  ran();
}

TEST_CASE("case own-config-guessed-by-chance: what the user gave and does not fit is said, soon, and nothing is made") {
  const nn::CheckpointFile file(kGolden / "latest_net_G.pth");
  const auto error = [&](const std::function<void(asapnet::Config&)>& overlay) {
    return error_of([&] { infer(file, overlay); });
  };
  using asapnet::Config;
  const std::clock_t start = std::clock();
  CHECK(infer(file, [](Config&) {}).config.crop_size == 64);
  CHECK(error([](Config& c) { c.crop_size = 128, c.output_nc = 1; }) ==
        "G.pth: crop_size 128 / output_nc 1 does not fit (its tile is 4: crop_size 64, output_nc 3); for larger "
        "pictures use --size");
  CHECK(error([](Config& c) { c.crop_size = 128; }) ==
        "G.pth: crop_size 128 does not fit (its tile is 4: crop_size 64); for larger pictures use --size");
  CHECK(error([](Config& c) { c.output_nc = 1; }) == "G.pth: output_nc 1 does not fit (it has output_nc 3)");
  CHECK(error([](Config& c) { c.hr_width = 7; }) == "G.pth: hr_width 7 does not fit (it has hr_width 8)");
  CHECK(contains(error([](Config& c) { c.hr_depth = 4; }), "hr_depth 4 does not fit (it has hr_depth "));
  CHECK(contains(error([](Config& c) { c.label_nc = 12; }), "label_nc 12 does not fit (it has 5 input channels)"));
  CHECK(contains(error([](Config& c) { c.lr_width = 9; }), "lr_width 9 does not fit (it has lr_width "));
  CHECK(contains(error([](Config& c) { c.learned_ds_factor = 8; }), "learned_ds_factor 8 does not fit"));
  CHECK(contains(error([](Config& c) { c.crop_size = 256, c.aspect_ratio = 2; }),
                 "crop_size 256 with aspect_ratio 2 does not fit (its tile is 4: crop_size 128 with aspect_ratio 2)"));
  CHECK(contains(error([](Config& c) { c = asapnet::preset("facades512"); }), "lr_max_width 1024"));
  // What fits keeps working, also when all of it is given.
  const Config own = infer(file, [](Config&) {}).config;
  CHECK(infer(file, [](Config& c) { c.crop_size = 64; }).config.hr_width == own.hr_width);
  CHECK(infer(file, [](Config& c) { c.crop_size = 128, c.aspect_ratio = 2; }).config.tile() == 4);
  CHECK(infer(file, [&](Config& c) { c.hr_width = own.hr_width, c.hr_depth = own.hr_depth; }).config.crop_size == 64);
  CHECK(infer(file, [](Config& c) { c.label_nc = 4, c.contain_dontcare_label = true; }).config.input_channels() == 5);
  CHECK(infer(file, [](Config& c) { c.replicate_pad = true; }).config.replicate_pad);
  CHECK(std::clock() - start < 5 * CLOCKS_PER_SEC);

  const ScratchFolder folder;
  const fs::path labels = write_labels(folder / "map.png");
  for (const std::vector<std::string>& flags : {std::vector<std::string>{"--output-nc", "1"}, {"--crop-size", "128"}}) {
    std::vector<std::string> arguments{"generate",
                                       "--weights",
                                       (kGolden / "latest_net_G.pth").string(),
                                       "--labels",
                                       labels.string(),
                                       "--out",
                                       (folder / "out").string()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Result result = run(arguments);
    CHECK(result.code == 1);
    CHECK(contains(result.error, "latest_net_G.pth"));
    CHECK_FALSE(fs::exists(folder / "out"));
  }
}

TEST_CASE("odd widths are the user's to give: a file of theirs is listed, and used with them") {
  asapnet::Config config = tiny_model();
  config.hr_width = 7;
  config.hr_depth = 3;
  const asapnet::Generator generator(config);
  const ScratchFolder folder;
  nn::write_safetensors(folder / "G.safetensors", generator.state_dict());
  const nn::CheckpointFile file(folder / "G.safetensors");
  const auto exact = [](asapnet::Config& c) { c.hr_width = 7, c.hr_depth = 3, c.crop_size = 32; };
  CHECK(infer(file, exact).config.label_nc == config.label_nc);
  const std::string error = error_of([&] { infer(file, [](asapnet::Config&) {}); });
  CHECK(contains(error, "G.pth: no configuration of a usual width fits its 13 input and "));
  CHECK(contains(error, "learned_ds_factor 2); give --hr-width, --hr-depth, --crop-size and --label-nc"));
  const std::string listing = inspected(folder / "G.safetensors");
  CHECK(contains(listing, "network: generator"));
  CHECK(contains(listing, "no configuration: "));
}

TEST_CASE("case 16-parametrized-spectral-norm: loads as weight_orig, weight_u and weight_v; inspect knows the norm") {
  const asapnet::Config config = tiny_model();
  asapnet::Discriminator trained(config), fresh(config);
  const nn::StateDict state = trained.state_dict();
  nn::StateDict modern, removed;
  for (const auto& [name, value] : state) {
    const size_t dot = name.rfind('.') + 1;
    const std::string layer = name.substr(0, dot), last = name.substr(dot);
    modern.set(last == "weight_orig" ? layer + "parametrizations.weight.original"
               : last == "weight_u"  ? layer + "parametrizations.weight.0._u"
               : last == "weight_v"  ? layer + "parametrizations.weight.0._v"
                                     : name,
               value);
    if (last != "weight_u" && last != "weight_v") removed.set(last == "weight_orig" ? layer + "weight" : name, value);
  }
  const ScratchFolder folder;
  const fs::path file = folder / "modern.safetensors";
  nn::write_safetensors(file, modern);
  const std::string listing = inspected(file);
  CHECK(contains(listing, "norm_D = spectralinstance"));
  CHECK(contains(listing, "numbers of spectral-norm state"));
  CHECK_FALSE(same(*fresh.state_dict().find("discriminator_0.model1.0.0.weight_orig"),
                   *state.find("discriminator_0.model1.0.0.weight_orig")));
  train::load_weights(file, fresh);
  check_equal(fresh.state_dict(), state);

  nn::write_safetensors(file, removed);
  CHECK(contains(inspected(file), "spectral norm was removed from these weights"));
  CHECK(contains(
      error_of([&] { train::load_weights(file, fresh); }),
      "modern.safetensors: spectral norm was removed from these weights ('discriminator_0.model1.0.0.weight'"));
  check_equal(fresh.state_dict(), state);
}

TEST_CASE("case 17-batch-norm-old-state: a missing num_batches_tracked counts as 0") {
  nn::BatchNorm2d norm(2);
  nn::StateDict old;
  for (const char* key : {"weight", "bias", "running_mean", "running_var"}) old.set(key, Tensor::full({2}, 3));
  norm.forward(Variable(Tensor::ones({1, 2, 2, 2})));
  CHECK(norm.state_dict().find("num_batches_tracked")->item() == 1);
  norm.load_state_dict(old, "old.pth");
  CHECK(norm.state_dict().find("num_batches_tracked")->item() == 0);
  CHECK(norm.state_dict().find("running_var")->to_vector<float>() == std::vector<float>{3, 3});
  nn::StateDict less;
  less.set("weight", Tensor::ones({2}));
  CHECK(contains(error_of([&] { norm.load_state_dict(less, "less.pth"); }), "missing: running_mean (2)"));
}

TEST_CASE("NaN and infinity in weights are refused by file and tensor before they are used; inspect tells") {
  const ScratchFolder folder;
  const fs::path file = folder / "G.pth", labels = write_labels(folder / "map.png");
  const std::string bad = "lowres_stream.model.1.1.bias";
  for (const float value : {NAN, INFINITY, -INFINITY}) {
    nn::StateDict weights;
    for (const auto& [name, tensor] : golden_generator()) weights.set(name, tensor.clone());
    Tensor bias = *weights.find(bad);
    bias.data<float>()[bias.numel() - 1] = value;
    write_text(file, pth_of({{{"netG"}, "", weights}}));
    const Result made =
        run({"generate", "--weights", file.string(), "--labels", labels.string(), "--out", (folder / "out").string()});
    CHECK(made.code == 1);
    CHECK(contains(made.error, "G.pth: tensor '" + bad + "' holds NaN or infinity"));
    CHECK_FALSE(fs::exists(folder / "out"));
    const std::string listing = inspected(file);
    CHECK(contains(listing, "holds NaN or infinity\n"));
    CHECK(contains(listing, "learned_ds_factor = "));
  }
  // --vgg as well; an integer tensor is exempt from the test.
  const nn::StateDict with_nan = [] {
    nn::StateDict state;
    state.set("features.0.weight", Tensor::full({1, 3, 3, 3}, NAN));
    return state;
  }();
  CHECK(error_of([&] { nn::check_finite(with_nan, "vgg.pth"); }) ==
        "vgg.pth: tensor 'features.0.weight' holds NaN or infinity; such weights can only give more of them");
  CHECK(nn::is_finite(Tensor::from<int32_t>({1, 2}, {2})));
  nn::write_safetensors(folder / "vgg.safetensors", with_nan);
  const fs::path data = make_tiny_data(folder / "data");
  train::Options options = tiny_options(data);
  write_text(folder / "config.json", train::options_to_json(options));
  const Result trained =
      run({"train", "--config", (folder / "config.json").string(), "--no-vgg-loss=false", "--vgg",
           (folder / "vgg.safetensors").string(), "--steps", "1", "--out", (folder / "run").string()});
  CHECK(trained.code == 1);
  CHECK(contains(trained.error, "vgg.safetensors: tensor 'features.0.weight' holds NaN or infinity"));
}

TEST_CASE("a small file that claims a huge network is refused before one is made") {
  const ScratchFolder folder;
  const fs::path file = folder / "G.safetensors";
  asapnet::Config config = tiny_model();
  config.lr_max_width = 4096;
  config.lr_depth = 3;
  nn::StateDict one;
  one.set("lowres_stream.model.1.0.weight", Tensor::zeros({4, 13, 3, 3}));
  nn::write_safetensors(file, one, {{"config", train::config_to_json(config)}});
  const fs::path labels = write_labels(folder / "map.png");
  release_cached_memory(Device::cpu);
  reset_peak_memory(Device::cpu);
  const size_t before = memory_use(Device::cpu).current;
  const Result result =
      run({"generate", "--weights", file.string(), "--labels", labels.string(), "--out", (folder / "out").string()});
  CHECK(memory_use(Device::cpu).peak - before < 10'000'000);
  CHECK(result.code == 1);
  CHECK(contains(result.error, "G.safetensors: a generator as configured has "));
  CHECK(contains(result.error, " parameters, the file holds 468 numbers"));
  // The metadata is JSON from a stranger, too.
  std::string deep;
  for (int i = 0; i < 80'000; ++i) deep += "{\"ndf\":";
  nn::write_safetensors(file, one, {{"config", deep}});
  const Result nested =
      run({"generate", "--weights", file.string(), "--labels", labels.string(), "--out", (folder / "out").string()});
  CHECK(nested.code == 1);
  CHECK(contains(nested.error, "G.safetensors (metadata): expected JSON of at most 64 levels"));
  CHECK(contains(inspected(file), "no configuration: "));
}

TEST_CASE("configurations have upper bounds, in the option's name") {
  const auto error = [](const std::function<void(asapnet::Config&)>& change) {
    asapnet::Config config = tiny_model();
    change(config);
    return error_of([&] { config.validate(); });
  };
  using asapnet::Config;
  CHECK(error([](Config& c) { c.lr_max_width = 1'000'000; }) ==
        "config: lr_max_width is 1000000; it must be at most 8192");
  CHECK(error([](Config& c) { c.lr_depth = 65; }) == "config: lr_depth is 65; it must be at most 64");
  CHECK(error([](Config& c) { c.hr_depth = 100; }) == "config: hr_depth is 100; it must be at most 64");
  CHECK(error([](Config& c) { c.num_D = 65; }) == "config: num_D is 65; it must be at most 64");
  CHECK(error([](Config& c) { c.z_dim = 0; }) == "config: z_dim is 0; it must be at least 1");
  CHECK(error([](Config& c) { c.label_nc = 65537; }) == "config: label_nc is 65537; it must be at most 65536");
  CHECK(
      contains(error([](Config& c) { c.lr_max_width = 8192, c.lr_depth = 64; }), "config: the generator would have 3"));
  CHECK(contains(error([](Config& c) { c.ndf = 8192, c.ndf_max = 8192; }), "lower ndf, ndf_max, n_layers_D or num_D"));
  CHECK(error([](Config& c) { c.label_nc = 255, c.contain_dontcare_label = true; }).empty());
  CHECK(contains(error([](Config& c) { c.label_nc = 256, c.contain_dontcare_label = true; }),
                 "config: label_nc is 256; with contain_dontcare_label it must be at most 255"));
  CHECK(error([](Config& c) { c.label_nc = 256; }).empty());
  for (const std::string& name : asapnet::preset_names())
    CHECK(error([&](Config& c) { c = asapnet::preset(name); }).empty());
  for (Config config : {tiny_model(), asapnet::preset("quick")}) {
    CHECK(asapnet::generator_parameters(config) == asapnet::Generator(config).parameter_count());
    config.use_vae = config.condition_on_z = true;
    config.no_instance_edge = false, config.lr_instance = true;
    CHECK(asapnet::generator_parameters(config) == asapnet::Generator(config).parameter_count());
  }
}

TEST_CASE("convert keeps dtypes, bytes and metadata, and names what it must leave out") {
  const ScratchFolder folder;
  const fs::path from = folder / "a.safetensors", to = folder / "b.safetensors";
  const auto bytes = [](size_t count) {
    std::vector<uint8_t> values;
    for (size_t i = 0; i < count; ++i) values.push_back(static_cast<uint8_t>(37 * i + 200));
    return values;
  };
  const std::vector<nn::RawTensor> tensors = {{"f16", "F16", {2, 3}, bytes(12)},
                                              {"bf16", "BF16", {2}, bytes(4)},
                                              {"i64", "I64", {2}, bytes(16)},
                                              {"bool", "BOOL", {3}, {0, 1, 1}},
                                              {"u16", "U16", {2}, bytes(4)},
                                              {"f8", "F8_E4M3", {5}, bytes(5)},
                                              {"c64", "C64", {1}, bytes(8)},
                                              {"new", "F3_X", {7}, bytes(3)},
                                              {"nine", "F32", std::vector<int64_t>(9, 1), bytes(4)}};
  nn::write_safetensors(from, tensors, {{"note", "mine"}, {"format", "tf"}});
  REQUIRE(run({"convert", from.string(), to.string()}).code == 0);
  const std::string before = read_text(from), after = read_text(to);
  CHECK(before == after);

  // From .pth: file dtypes too, and complex128, which the format has no name for, is named.
  const Bytes half = tensor(storage("HalfStorage", "h", 2), 0, {2}, {1});
  const Bytes wide = tensor(storage("ComplexDoubleStorage", "c", 1), 0, {1}, {1});
  const Bytes strange = global("argparse", "Namespace") + ")\x81";
  write_text(
      folder / "a.pth",
      zip_file({{"m/data.pkl", pickle("}(" + text("h") + half + text("wide") + wide + text("args") + strange + "u")},
                {"m/data/h", "abcd"},
                {"m/data/c", Bytes(16, 'x')}}));
  const fs::path converted = folder / "converted.safetensors";
  const Result result = run({"convert", (folder / "a.pth").string(), converted.string()});
  CHECK(result.code == 0);
  CHECK(contains(result.error, "a.pth: left out tensor 'wide': dtype complex128 is not supported"));
  CHECK(contains(result.error, "a.pth: left out 'args': an object of argparse.Namespace"));
  const std::string written = read_text(converted);
  CHECK(contains(written, R"({"__metadata__":{"format":"pt"},"h":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})"));
  CHECK(written.ends_with("abcd"));
}

TEST_CASE("inspect: odd tensors beside their dtype, unknown values by name, and no escape codes to the terminal") {
  const ScratchFolder folder;
  const fs::path file = folder / "odd.pth";
  const Bytes good = tensor(storage("FloatStorage", "k", 1), 0, {1}, {1});
  const Bytes complex = tensor(storage("ComplexFloatStorage", "c", 1), 0, {1}, {1});
  const Bytes seed = tensor(storage("LongStorage", "l", 1), 0, {1}, {1});
  const Bytes evil = global("posix\x1b[31m", "system") + text("true") + "\x85R";
  write_text(file, zip_file({{"m/data.pkl", pickle("}(" + text("w\x1b[2J") + good + text("x") + complex + text("seed") +
                                                   seed + text("e\x1b]0;") + evil + "u")},
                             {"m/data/k", raw(1.0f)},
                             {"m/data/c", Bytes(8, '\0')},
                             {"m/data/l", raw(int64_t{1} << 40)}}));
  const std::string listing = inspected(file);
  CHECK_FALSE(contains(listing, "\x1b"));
  CHECK(contains(listing, "  w?[2J  float32  (1)\n"));
  CHECK(contains(listing, "  x      complex64  (1)  cannot be used: dtype complex64 is not supported\n"));
  CHECK(contains(listing,
                 "  seed   int64  (1)  cannot be used: expected integers that fit into 32 bits, got 1099511627776\n"));
  CHECK(contains(listing, "  not read: 'e?]0;': an object of posix?[31m.system\n"));
  CHECK(contains(listing, "3 tensors, 3 parameters"));
}
