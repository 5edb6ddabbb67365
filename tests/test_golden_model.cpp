// The generator, discriminator, losses, resampling and encodings against the golden numbers: values and gradients, in
// float32 and in float64. The goldens are a float32 run; its own distance from float64 (`f32_vs_f64_reldiff` in each
// file) is what a float64 run of ours must see, and bounds what a float32 run may see.
#include <doctest/doctest.h>

#include <algorithm>

#include "asapnet/losses.h"
#include "asapnet/model.h"
#include "tensor/definitions/tile_mlp.h"
#include "tests/support/golden.h"
#include "tests/support/skip.h"

namespace asap {
namespace {

using namespace asapnet;
using tests::Golden;
using tests::golden_difference;
using tests::test_device;

// Two float32 runs differ by at most the sum of their distances from the exact numbers; ours may round elsewhere.
constexpr double kFloat32Factor = 4;
constexpr double kFloat64Factor = 1.5;

// A hidden unit of a tile's MLP whose argument is within float32 rounding of 0 takes LeakyReLU's other slope when the
// rounding changes, and moves every gradient behind it: measured 2.8e-4 on gen_zero_S1x2 (gone with ASAP_KERNEL's
// naive convolutions), and 1.6e-4 between the golden's own two runs of gen_replicate_ds4. float64 has no such slack.
constexpr double kFloat32Kink = 5e-4;

// The sinusoids that the definition of the MLPs sees, [1, 4*log2(tile), side, side].
Tensor positional_encoding(int64_t side, int64_t tile) {
  const definitions::TileMlpInput input({}, {}, {.tile = tile});
  std::vector<float> values;
  for (int64_t i = 0; i < input.count * side * side; ++i) {
    values.push_back(static_cast<float>(input(0, i / (side * side), i / side % side, i % side)));
  }
  return Tensor::from(values, {1, input.count, side, side});
}

double allowance(DType dtype, double gap) { return gap * (dtype == DType::f32 ? kFloat32Factor : kFloat64Factor); }
double gradient_allowance(DType dtype, double gap) {
  return dtype == DType::f32 ? std::max(kFloat32Kink, allowance(dtype, gap)) : allowance(dtype, gap);
}

void check_generator(const std::string& name, DType dtype) {
  CAPTURE(name);
  const std::string type = asap::name(dtype);
  CAPTURE(type);
  const Golden golden(name);
  const Config config = golden.config();
  Generator generator(config);
  generator.load_state_dict(golden.with_prefix("w."), name);
  generator.to(dtype);
  generator.to(test_device());
  const auto at = [&](const char* key) { return golden.at(key).to(dtype).to(test_device()); };
  const Variable x(at("x"), true);

  auto gap = [&](const char* item) { return golden.meta_number("f32_vs_f64_reldiff", item); };
  CHECK(golden_difference(tent_downsample(x, config.fixed_downsampling()).value(), golden.at("lowres")) < 3e-7);
  auto [y, phi] = generator.forward(x);
  phi.retain_grad();
  CHECK(golden_difference(phi.value(), golden.at("lr_features")) < allowance(dtype, gap("lr_features")));
  CHECK(golden_difference(y.value(), golden.at("y")) < allowance(dtype, gap("y")));

  const Variable loss = sum(y * at("c"));
  CHECK(loss.item() == doctest::Approx(golden.meta_number("sum")).epsilon(1e-4));
  loss.backward();
  CHECK(golden_difference(x.grad(), golden.at("gx")) < gradient_allowance(dtype, gap("gx")));
  for (const auto& [key, parameter] : generator.named_parameters()) {
    CAPTURE(key);
    CHECK(golden_difference(parameter.grad(), golden.at("g." + key)) < gradient_allowance(dtype, gap("worst_gw")));
  }
  if (golden.has("g_lr_features")) {
    CHECK(golden_difference(phi.grad(), golden.at("g_lr_features")) < gradient_allowance(dtype, gap("worst_gw")));
  }
}

TEST_CASE("generators match the goldens forward and backward") {
  for (const char* name : {"gen_zero_ds4", "gen_reflect_ds4", "gen_replicate_ds4", "gen_zero_S1x2", "gen_reflect_S1x2",
                           "gen_lrinst_aspect2"}) {
    for (DType dtype : {DType::f32, DType::f64}) check_generator(name, dtype);
  }
}

TEST_CASE("every low-res layer matches the golden") {
  const Golden golden("gen_zero_ds4");
  Generator generator(golden.config());
  generator.load_state_dict(golden.with_prefix("w."));
  generator.to(test_device());
  // The published Sequential: convolutions with their norm at 0, 2, 4, each with its ReLU behind it, then the blocks.
  const std::vector<std::string> keys{"layer.1", "layer.3", "layer.5", "layer.6", "layer.7", "lr_features"};
  size_t layer = 0;
  generator.lowres_stream().forward(golden.at("x").to(test_device()), {}, [&](const Variable& output) {
    const std::string& key = keys.at(layer++);
    CAPTURE(key);
    CHECK(golden_difference(output.value(), golden.at(key)) < 3e-6);
  });
  CHECK(layer == keys.size());
}

TEST_CASE("S1 resampling and positional encodings match the goldens") {
  const Golden golden("resample_coords");
  for (int64_t factor : {2, 4, 8}) {
    const std::string n = std::to_string(factor);
    CAPTURE(factor);
    // Sums of at most 256 products in float32.
    CHECK(golden_difference(tent_downsample(golden.at("x" + n).to(test_device()), factor).value(), golden.at("y" + n)) < 5e-7);
  }
  for (int64_t tile : {4, 16, 32}) {
    CAPTURE(tile);
    // float32 sinusoids of float32 angles in the golden.
    CHECK(golden_difference(positional_encoding(32, tile), golden.at("coords_" + std::to_string(tile))) < 1e-6);
  }
}

void check_discriminator(const std::string& name, DType dtype, double tolerance) {
  CAPTURE(name);
  const std::string type = asap::name(dtype);
  CAPTURE(type);
  const Golden golden(name);
  Discriminator discriminator(golden.config());
  discriminator.load_state_dict(golden.with_prefix("before."), name);
  discriminator.to(dtype);
  discriminator.to(test_device());
  const Variable x(golden.at("x").to(dtype).to(test_device()), true);

  const auto outputs = discriminator.forward(x);
  Variable loss;
  for (size_t scale = 0; scale < outputs.size(); ++scale) {
    for (size_t layer = 0; layer < outputs[scale].size(); ++layer) {
      const std::string key = std::to_string(scale) + "." + std::to_string(layer);
      CAPTURE(key);
      CHECK(golden_difference(outputs[scale][layer].value(), golden.at("out." + key)) < tolerance);
      const Variable term = sum(outputs[scale][layer] * golden.at("c." + key).to(dtype).to(test_device()));
      loss = loss.defined() ? loss + term : term;
    }
  }
  CHECK(loss.item() == doctest::Approx(golden.meta_number("loss")).epsilon(1e-4));
  loss.backward();
  CHECK(golden_difference(x.grad(), golden.at("gx")) < tolerance);
  for (const auto& [key, parameter] : discriminator.named_parameters()) {
    CAPTURE(key);
    CHECK(golden_difference(parameter.grad(), golden.at("g." + key)) < tolerance);
  }
  for (const auto& [key, buffer] : discriminator.named_buffers()) {
    CAPTURE(key);
    CHECK(golden_difference(buffer.value(), golden.at("after." + key)) < tolerance);
  }
  discriminator.eval();
  const auto evaluated = discriminator.forward(x);
  for (size_t scale = 0; scale < evaluated.size(); ++scale) {
    const std::string key = "eval_out." + std::to_string(scale) + "." + std::to_string(evaluated[scale].size() - 1);
    CAPTURE(key);
    if (golden.has(key)) CHECK(golden_difference(evaluated[scale].back().value(), golden.at(key)) < tolerance);
  }
}

TEST_CASE("discriminators match the goldens, power iterations included") {
  for (const char* name : {"disc_spectralinstance", "disc_instanceaffine_single"}) {
    // The golden's own rounding: its last bias' gradient, a sum that cancels, is 1.06e-5 from ours in either type.
    check_discriminator(name, DType::f32, 2e-5);
    check_discriminator(name, DType::f64, 2e-5);
  }
}

TEST_CASE("GAN losses and their gradients match the goldens in every mode") {
  const Golden golden("losses");
  const auto on_device = [&](const std::string& key) { return golden.at(key).to(test_device()); };
  for (GanMode mode : {GanMode::hinge, GanMode::ls, GanMode::original, GanMode::w}) {
    const std::string prefix = name(mode);
    CAPTURE(prefix);
    auto check = [&](const std::string& which, const std::string& side, auto&& loss) {
      CAPTURE(which);
      std::vector<ScaleOutputs> outputs;
      for (int scale = 0; scale < 2; ++scale) {
        const std::string key = side + "." + std::to_string(scale) + ".";
        outputs.push_back({Variable(on_device(key + "0")), Variable(on_device(key + "1"), true)});
      }
      const Variable value = loss(outputs);
      value.backward();
      CHECK(value.item() == doctest::Approx(golden.at(prefix + "." + which).item()).epsilon(1e-6));
      for (size_t scale = 0; scale < 2; ++scale) {
        const Tensor& wanted = golden.at(prefix + "." + which + ".grad." + std::to_string(scale));
        CHECK(golden_difference(outputs[scale].back().grad(), wanted) < 1e-6);
      }
    };
    check("d_fake", "fake", [&](const auto& o) { return discriminator_gan_loss(mode, o, GanTarget::fake); });
    check("d_real", "fake", [&](const auto& o) { return discriminator_gan_loss(mode, o, GanTarget::real); });
    check("g", "fake", [&](const auto& o) { return generator_gan_loss(mode, o); });
  }
}

TEST_CASE("feature matching matches the golden") {
  const Golden golden("losses");
  std::vector<ScaleOutputs> fake, real;
  for (const char* scale : {"0", "1"}) {
    auto at = [&](const char* side, const char* layer) { return golden.at(str(side, ".", scale, ".", layer)).to(test_device()); };
    fake.push_back({Variable(at("fake", "0"), true), Variable(at("fake", "1"))});
    real.push_back({Variable(at("real", "0")), Variable(at("real", "1"))});
  }
  const Variable loss = feature_matching_loss(fake, real) * 10;
  loss.backward();
  CHECK(loss.item() == doctest::Approx(golden.at("feature_matching").item()).epsilon(1e-6));
  CHECK(golden_difference(fake[0][0].grad(), golden.at("feature_matching.grad.0")) < 1e-6);
  CHECK(golden_difference(fake[1][0].grad(), golden.at("feature_matching.grad.1")) < 1e-6);
}

// The goldens name the net's convolutions sliceK.N; torchvision and Vgg19 say features.N.
nn::StateDict torchvision_names(const nn::StateDict& slices) {
  nn::StateDict renamed;
  for (const auto& [key, tensor] : slices) renamed.set("features" + key.substr(key.find('.')), tensor);
  return renamed;
}

TEST_CASE("the perceptual loss matches the golden") {
  const Golden golden("losses");
  Vgg19 vgg(torchvision_names(golden.with_prefix("vgg.w.")), false);
  vgg.to(test_device());
  const Variable x(golden.at("vgg.x").to(test_device()), true);
  const auto features = vgg.forward(x);
  for (size_t i = 0; i < features.size(); ++i) {
    CAPTURE(i);
    CHECK(golden_difference(features[i].value(), golden.at("vgg.feat." + std::to_string(i))) < 3e-6);
  }
  // The golden is the sum without its weight lambda_vgg.
  const Variable loss = perceptual_loss(vgg, x, golden.at("vgg.y").to(test_device()));
  loss.backward();
  CHECK(loss.item() == doctest::Approx(golden.at("vgg.loss").item()).epsilon(1e-6));
  // A ReLU or a sign whose argument is within rounding of zero flips: measured 2e-6 in float32.
  CHECK(golden_difference(x.grad(), golden.at("vgg.gx")) < 1e-5);
}

}  // namespace
}  // namespace asap
