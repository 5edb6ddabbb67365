// asapnet export: the file, executed operator by operator (support/run_onnx.h), gives the generator's pictures, for every variant
// of the configuration. With ASAP_EXPORT_CASES=DIR the cases are written there as files for tests/export/runtimes.py, which
// executes them in ONNX Runtime and OpenVINO.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <random>

#include "asapnet/session.h"
#include "tests/support/golden.h"
#include "tests/support/run_program.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"
#include "train/export/onnx_generator.h"
#include "train/files/npy.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"

#if ASAP_PROTOBUF
#include "tests/support/run_onnx.h"
#endif

namespace asap {
namespace {

namespace fs = std::filesystem;
using namespace tests;
using namespace train;
using asapnet::Config;
using asapnet::SessionOutput;

#if ASAP_PROTOBUF

struct Case {
  std::string name;
  Config config;
  OnnxOptions options = {};
  int64_t batch = 1, height = 0, width = 0;  // 0: the training size
  std::string golden = {};                   // of the weights; empty: random ones
};

Config variant(const std::function<void(Config&)>& change) {
  Config config = tiny_model();
  config.crop_size = 64;  // tiles of 4
  config.label_nc = 5;
  change(config);
  return config;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* golden : {"gen_zero_ds4", "gen_reflect_ds4", "gen_replicate_ds4", "gen_zero_S1x2",
                             "gen_reflect_S1x2", "gen_lrinst_aspect2"}) {
    const Config config = Golden(golden).config();
    all.push_back({str(golden, "_one_hot"), config, {.input = OnnxInput::one_hot}, 1, 0, 0, golden});
    all.push_back({str(golden, "_labels"), config, {}, 3, 0, 0, golden});
  }
  const Config plain = variant([](Config&) {});
  const auto wide = variant([](Config& c) { c.crop_size = 256, c.learned_ds_factor = 4; });  // tiles of 16 = 4 * 4
  all.push_back({"other_size", plain, {}, 2, 48, 80});
  all.push_back({"fixed_size", plain, {.height = 32, .width = 96}, 3, 32, 96});
  all.push_back({"picture", plain, {.output = SessionOutput::picture}, 2});
  all.push_back({"S1x4", wide, {}, 1, 64, 96});
  all.push_back({"f16", plain, {.stored = nn::FileDType::f16}});
  all.push_back({"bf16", plain, {.stored = nn::FileDType::bf16}});
  all.push_back({"dontcare", variant([](Config& c) { c.contain_dontcare_label = true; }), {}, 2});
  all.push_back({"many_classes", variant([](Config& c) { c.label_nc = 300; })});
  all.push_back({"instance_to_both", variant([](Config& c) { c.no_instance_edge = false; }), {}, 2});
  all.push_back({"rgb", variant([](Config& c) { c.no_one_hot = true; }), {}, 2});
  const Config rgb = variant([](Config& c) { c.no_one_hot = c.lr_instance = true, c.no_instance_dist = false; });
  all.push_back({"rgb_and_instance", rgb, {}, 2});
  all.push_back({"z", variant([](Config& c) { c.use_vae = c.condition_on_z = true; }), {}, 2});
  all.push_back({"grey_flat", variant([](Config& c) { c.output_nc = 1, c.lr_depth = 0, c.hr_depth = 1; })});
  all.push_back({"deep", variant([](Config& c) { c.lr_depth = 3, c.hr_depth = 7, c.learned_ds_factor = 4; })});
  return all;
}

// Weights as the golden's, or so that activations neither vanish nor saturate tanh; both of them f32.
void fill(asapnet::Generator& generator, const Case& c) {
  if (!c.golden.empty()) return generator.load_state_dict(Golden(c.golden).with_prefix("w."));
  std::mt19937_64 random(7);
  for (auto& [name, parameter] : generator.named_parameters()) {
    const bool matrix = parameter.rank() > 1, to_phi = parameter.rank() == 4 && parameter.size(2) == 1;
    const double fan_in = matrix ? static_cast<double>(parameter.numel() / parameter.size(0)) : 4;
    std::normal_distribution<float> normal(!matrix && name.ends_with("1.weight") ? 1 : 0,
                                           static_cast<float>((to_phi ? 0.5 : 1) / std::sqrt(fan_in)));
    Tensor w = Tensor::empty(parameter.shape());
    for (int64_t i = 0; i < w.numel(); ++i) w.data<float>()[i] = normal(random);
    parameter.set_value(w);
  }
}

// What a user of the file gives it: floats that stand for label maps too.
OnnxValues inputs_of(const Case& c) {
  const Config& config = c.config;
  const int64_t height = c.height ? c.height : config.height(), width = c.width ? c.width : config.crop_size;
  std::mt19937_64 random(11);
  const auto draw = [&](const Shape& shape, const std::function<float()>& value) {
    Tensor x = Tensor::empty(shape);
    for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = value();
    return x;
  };
  std::uniform_real_distribution<float> real(-1, 1);
  OnnxValues inputs;
  if (c.options.input == OnnxInput::one_hot && !c.golden.empty()) return {{"x", Golden(c.golden).at("x")}};
  if (config.no_one_hot) {
    inputs["x"] = draw({c.batch, 3, height, width}, [&] { return real(random); });
  } else {
    const int64_t last = config.label_channels() - 1;
    inputs["labels"] = draw({c.batch, height, width}, [&] {
      const auto label = static_cast<int64_t>(random() % static_cast<uint64_t>(last + 1));
      return static_cast<float>(config.contain_dontcare_label && label == last ? 255 : label);
    });
  }
  const auto bit = [&] { return static_cast<float>(random() % 2); };
  if (config.instance_channel()) inputs["instance"] = draw({c.batch, 1, height, width}, bit);
  if (config.condition_on_z) inputs["z"] = draw({c.batch, config.z_dim}, [&] { return real(random); });
  return inputs;
}

Tensor input_or_none(const OnnxValues& inputs, const std::string& name) {
  const auto found = inputs.find(name);
  return found == inputs.end() ? Tensor() : found->second;
}

// Class numbers as the library takes them: 255 is the last class where there is one for it.
Tensor class_numbers(const Config& config, const Tensor& labels) {
  std::vector<int32_t> classes;
  for (const float label : labels.to_vector<float>())
    classes.push_back(static_cast<int32_t>(config.contain_dontcare_label && label == 255 ? config.label_nc : label));
  return Tensor::from(classes, labels.shape());
}

// The generator itself, in the type of its weights.
Tensor expected(asapnet::Generator& generator, const Case& c, const OnnxValues& inputs) {
  const NoGrad no_grad;
  const DType dtype = generator.parameters().front().dtype();
  const auto given = [&](const char* name) {
    const Tensor x = input_or_none(inputs, name);
    return x.defined() ? x.to(dtype) : x;
  };
  const Tensor labels = inputs.contains("labels") ? class_numbers(c.config, inputs.at("labels")) : Tensor(),
               z = given("z");
  Tensor x = given("x");
  if (const Tensor instance = given("instance"); instance.defined()) x = x.defined() ? cat({x, instance}, 1) : instance;
  if (c.options.output == SessionOutput::picture) return generator.picture(labels, x, z);
  return generator.forward(labels, x, z).y.value();
}

// The weights as a file of that type holds them.
void round_weights(asapnet::Generator& generator, nn::FileDType stored) {
  for (auto& [name, parameter] : generator.named_parameters()) {
    if (parameter.rank() < 2) continue;
    const Tensor w = parameter.value().contiguous();
    const nn::FileView view{.dtype = stored, .shape = w.shape(), .strides = contiguous_strides(w.shape())};
    parameter.set_value(nn::read_view(nn::pack_values(w, stored), view));
  }
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const std::vector<double> x = a.to(DType::f64).to_vector<double>(), y = b.to(DType::f64).to_vector<double>();
  double largest = 0;
  for (size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

TEST_CASE("the exported file computes what the generator computes") {
  for (const Case& c : cases()) {
    CAPTURE(c.name);
    asapnet::Generator generator(c.config);
    fill(generator, c);
    const OnnxValues inputs = inputs_of(c);
    const auto model = parse_onnx(generator_graph(generator, c.options).serialize({}));
    round_weights(generator, c.options.stored);
    generator.to(DType::f64);
    const double far = largest_difference(run_onnx(model, inputs), expected(generator, c, inputs));
    // Both in float64; only the file's sinusoids are float32: measured 5e-7 at most. A picture's byte may fall to the other side.
    CHECK(far <= (c.options.output == SessionOutput::picture ? 1 : 2e-6));
  }
}

void write_cases(const fs::path& folder) {
  std::string list;
  for (const Case& c : cases()) {
    asapnet::Generator generator(c.config);
    fill(generator, c);
    const OnnxValues inputs = inputs_of(c);
    write_file(folder / (c.name + ".onnx"), generator_graph(generator, c.options).serialize({{"name", c.name}}));
    const auto write = [&](const std::string& what, const Tensor& x) {
      const Tensor values = x.to(DType::f32).contiguous();
      write_npy(folder / (c.name + "." + what + ".npy"), {values.data<float>(), static_cast<size_t>(values.numel())},
                {values.shape().begin(), static_cast<size_t>(values.rank())});
    };
    for (const auto& [name, value] : inputs) write(name, value);
    round_weights(generator, c.options.stored);
    write("picture", expected(generator, c, inputs));
    // How far float32 is from float64 in this case: the goldens have some where a unit's argument is 0 to rounding.
    const double gap = c.golden.empty() ? 0 : Golden(c.golden).meta_number("f32_vs_f64_reldiff", "y");
    list += str(c.name, " ", gap, "\n");
  }
  write_file(folder / "cases.txt", list);
}

TEST_CASE("cases for other runtimes") {
  if (const char* folder = std::getenv("ASAP_EXPORT_CASES")) write_cases(folder);
}

#else

TEST_CASE("exported graphs") { skip("built without Protocol Buffers"); }

#endif

}  // namespace
}  // namespace asap
