// The model beyond the goldens: published sizes and key names, what is refused, the options around the main path
// (RGB input, instance channel, encoder, z), and that the split discriminator pass equals the published joint one.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "asapnet/losses.h"
#include "asapnet/model.h"
#include "nn/init.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"

namespace asap {
namespace {

using namespace asapnet;
using asap::tests::contains;
using asap::tests::error_of;
using tests::test_device;

Config tiny() {
  Config config = preset("quick");
  config.label_nc = 4;
  config.crop_size = 64;
  config.learned_ds_factor = 2;
  config.lr_width = 4;
  config.lr_max_width = 8;
  config.lr_depth = 1;
  config.hr_width = 4;
  config.hr_depth = 2;
  config.ndf = 4;
  config.ndf_max = 8;
  config.no_vgg_loss = true;
  return config;
}

Batch random_batch(const Config& config, int64_t count = 1) {
  const int64_t h = config.height(), w = config.crop_size;
  Batch batch;
  const double classes = static_cast<double>(config.label_channels());
  batch.labels = random_uniform({count, h, w}, {.seed = 1, .b = classes}).to(DType::i32);
  if (config.no_one_hot) batch.labels = random_uniform({count, 3, h, w}, {.seed = 1, .a = -1});
  if (config.instance_channel())
    batch.instance = random_uniform({count, 1, h, w}, {.seed = 2, .b = 2}).to(DType::i32).to(DType::f32);
  batch.image = random_uniform({count, 3, h, w}, {.seed = 3, .a = -1});
  for (Tensor* tensor : {&batch.labels, &batch.instance, &batch.image}) {
    if (tensor->defined()) *tensor = tensor->to(test_device());
  }
  return batch;
}

// On the device that this run is about.
AsapNet make_model(const Config& config, uint64_t seed) {
  AsapNet model(config, seed);
  model.to(test_device());
  return model;
}

TEST_CASE("the presets have the published sizes") {
  struct Row {
    const char* name;
    int64_t tile, fixed, mlp_in, phi, generator, discriminator;
  };
  // docs/asapnet.md, configuration.
  for (const Row& row :
       {Row{"facades256", 16, 1, 29, 14595, 81744963, 5554306}, Row{"facades512", 32, 2, 33, 14851, 82007363, 5554306},
        Row{"facades1024", 64, 4, 37, 15107, 82269763, 5554306},
        Row{"cityscapes256", 16, 1, 51, 16003, 83201411, 5601410},
        Row{"cityscapes512", 32, 2, 55, 16259, 83463811, 5601410}}) {
    CAPTURE(row.name);
    const Config config = preset(row.name);
    CHECK(config.tile() == row.tile);
    CHECK(config.fixed_downsampling() == row.fixed);
    CHECK(config.highres_channels() + 4 * static_cast<int64_t>(std::log2(row.tile)) == row.mlp_in);
    CHECK(phi_channels(config) == row.phi);
    CHECK(Generator(config).parameter_count() == row.generator);
    CHECK(Discriminator(config).parameter_count() == row.discriminator);
  }
}

TEST_CASE("keys are the published ones") {
  Config config = tiny();
  auto keys = [](const nn::Module& module) {
    std::string all;
    for (const auto& [key, tensor] : module.state_dict()) all += key + "\n";
    return all;
  };
  config.reflection_pad = true;  // s = 3, q = 1
  CHECK(keys(Generator(config)) ==
        "lowres_stream.model.1.0.weight\nlowres_stream.model.1.1.weight\nlowres_stream.model.1.1.bias\n"
        "lowres_stream.model.4.0.weight\nlowres_stream.model.4.1.weight\nlowres_stream.model.4.1.bias\n"
        "lowres_stream.model.6.conv_block.1.0.weight\nlowres_stream.model.6.conv_block.1.1.weight\n"
        "lowres_stream.model.6.conv_block.1.1.bias\nlowres_stream.model.7.weight\nlowres_stream.model.7.bias\n");
  config.reflection_pad = false;  // s = 2, q = 0
  CHECK(contains(keys(Generator(config)), "lowres_stream.model.4.conv_block.0.0.weight\n"));
  CHECK(contains(keys(Discriminator(config)),
                 "discriminator_1.model1.0.0.weight_orig\ndiscriminator_1.model1.0.0.weight_u\n"));
}

TEST_CASE("configurations that cannot work are refused with what would") {
  auto refused = [](auto&& change) {
    Config config = preset("facades512");
    change(config);
    return error_of([&] { config.validate(); });
  };
  CHECK(refused([](Config&) {}) == "");
  CHECK(contains(refused([](Config& c) { c.crop_size = 500; }), "crop_size 500"));
  CHECK(contains(refused([](Config& c) { c.learned_ds_factor = 64; }), "power of two from 2 to 32"));
  CHECK(contains(refused([](Config& c) { c.replicate_pad = true; }), "exclude each other"));
  CHECK(contains(refused([](Config& c) { c.lr_instance = true; }), "instance channel"));
  CHECK(contains(refused([](Config& c) { c.norm_D = "batch"; }), "norm_D is 'batch'"));
  CHECK(contains(error_of([] { preset("facade"); }), "the presets are quick facades256"));
  CHECK(contains(error_of([] { parse_gan_mode("x"); }), "hinge, ls, original or w"));
  const std::string size = error_of([] { preset("facades512").check_size(500, 520, "map.png"); });
  CHECK(contains(size, "map.png: the size is 520x500"));
  CHECK(contains(size, "512x480 or 544x512 would do"));
  CHECK(error_of([] { preset("facades512").check_size(480, 1024, "map.png"); }) == "");
}

TEST_CASE("wrong keys are all listed and change nothing") {
  Generator generator(tiny());
  nn::StateDict state;
  for (const auto& [key, tensor] : generator.state_dict()) {
    if (!contains(key, "7.bias"))
      state.set(key, key.ends_with("7.weight") ? Tensor::zeros({1, 2}) : Tensor::zeros(tensor.shape()));
  }
  state.set("extra", Tensor::zeros({1}));
  const Tensor before = generator.state_dict().begin()->second.clone();
  const std::string text = error_of([&] { generator.load_state_dict(state, "weights.pth"); });
  CHECK(contains(text, "weights.pth"));
  CHECK(contains(text, "missing: lowres_stream.model.7.bias"));
  CHECK(contains(text, "wrong shape: lowres_stream.model.7.weight is (1,2)"));
  CHECK(contains(text, "unexpected: extra"));
  CHECK(before.to_vector<float>() == generator.state_dict().begin()->second.to_vector<float>());
}

// The generator's losses as published: the discriminator sees cat(fake, real) in one batch.
TEST_CASE("the discriminator's two passes give the numbers of one joint batch") {
  const Config config = tiny();
  const Batch batch = random_batch(config, 2);
  RandomStream noise;
  AsapNet model = make_model(config, 5), joint = make_model(config, 5);
  const Losses losses = model.generator_losses(batch, noise).losses;
  losses.total().backward();

  const Tensor input = encode_input(config, batch);
  const Variable fake = joint.generator().forward(input).y;
  auto with = [&](const Variable& picture) { return cat(std::vector<Variable>{input, picture}, 1); };
  std::vector<ScaleOutputs> fakes, reals;
  for (const ScaleOutputs& scale :
       joint.discriminator().forward(cat(std::vector<Variable>{with(fake), with(batch.image)}, 0))) {
    fakes.emplace_back();
    reals.emplace_back();
    for (const Variable& output : scale) {
      const auto halves = split(output, {2, 2}, 0);
      fakes.back().push_back(halves[0]);
      reals.back().push_back(halves[1]);
    }
  }
  const Variable gan = generator_gan_loss(config.gan_mode, fakes);
  const Variable matching = feature_matching_loss(fakes, reals) * config.lambda_feat;
  (gan + matching).backward();
  const LossValues values = losses.values();
  CHECK(values[0].second == doctest::Approx(gan.item()).epsilon(1e-5));
  CHECK(values[1].second == doctest::Approx(matching.item()).epsilon(1e-5));
  const auto a = model.generator().named_parameters(), b = joint.generator().named_parameters();
  for (size_t i = 0; i < a.size(); ++i) {
    CAPTURE(a[i].first);
    const double difference = max(unary(UnaryOp::abs, sub(a[i].second.grad(), b[i].second.grad()))).item();
    CHECK(difference <= 1e-4 * max(unary(UnaryOp::abs, b[i].second.grad())).item());  // float32 sums in another order
  }
  // One power iteration each.
  for (size_t i = 0; i < model.discriminator().named_buffers().size(); ++i) {
    CHECK(model.discriminator().named_buffers()[i].second.value().to_vector<float>() ==
          joint.discriminator().named_buffers()[i].second.value().to_vector<float>());
  }
}

TEST_CASE("RGB input, instance channel and every loss train") {
  for (const bool rgb : {false, true}) {
    CAPTURE(rgb);
    Config config = tiny();
    config.no_one_hot = rgb;
    config.no_instance_edge = false;
    config.lr_instance = true;
    config.lambda_L1 = 100;
    config.lambda_MSE = 10;
    config.lambda_phi = 1e-8;
    AsapNet model = make_model(config, 1);
    GanStep step(model, OptimizerConfig::defaults(true), 1);
    const Batch batch = random_batch(config);
    const auto first = step.generator_step(batch);
    step.discriminator_step(batch);
    std::string names;
    for (const auto& [name, value] : first) names += name + " ";
    CHECK(names == "GAN GAN_Feat L1 MSE PHI ");
    double l1 = 0;
    for (int i = 0; i < 20; ++i) {
      l1 = step.generator_step(batch)[2].second;
      step.discriminator_step(batch);
    }
    CHECK(l1 < first[2].second);
    CHECK(model.inference(batch).shape() == Shape{1, 3, 64, 64});
  }
}

TEST_CASE("the encoder trains with the generator, and z reaches the picture only with condition_on_z") {
  for (const bool conditioned : {false, true}) {
    CAPTURE(conditioned);
    Config config = tiny();
    config.use_vae = true;
    config.ngf = 2;
    config.z_dim = 8;
    config.condition_on_z = conditioned;
    AsapNet model = make_model(config, 1);
    GanStep step(model, OptimizerConfig::defaults(false), 7);
    const Batch batch = random_batch(config);
    const auto mu_weights = model.encoder()->state_dict().find("fc_mu.weight")->clone();
    const auto result = step.generator_step(batch);
    CHECK(result.back().first == "KLD");
    CHECK(step.noise().offset == 8);
    CHECK(model.encoder()->state_dict().find("fc_mu.weight")->to_vector<float>() != mu_weights.to_vector<float>());
    CHECK(model.encode(batch.image).mu.shape() == Shape{1, 8});
    const Tensor zeros = Tensor::zeros({1, 8}, DType::f32, test_device()),
                 ones = Tensor::ones({1, 8}, DType::f32, test_device());
    const bool same =
        model.inference(batch, zeros).to_vector<float>() == model.inference(batch, ones).to_vector<float>();
    CHECK(same == !conditioned);
  }
  AsapNet plain(tiny(), 1);
  CHECK(contains(error_of([&] { plain.encode(random_batch(tiny()).image); }), "use_vae"));
}

TEST_CASE("a loss that is not finite stops the step before any weight changes") {
  const Config config = tiny();
  AsapNet model = make_model(config, 1);
  GanStep step(model, OptimizerConfig::defaults(false), 1);
  Batch batch = random_batch(config);
  batch.image.slice(3, 0, 1).fill(std::numeric_limits<float>::quiet_NaN());
  const auto before = model.generator().parameters()[0].value().to_vector<float>();
  const std::string text = error_of([&] { step.generator_step(batch); });
  CHECK(contains(text, "the loss GAN_Feat is nan"));
  CHECK(before == model.generator().parameters()[0].value().to_vector<float>());
}

TEST_CASE("the perceptual net names what its file lacks") {
  CHECK(contains(error_of([] { Vgg19(nn::StateDict(), false, "vgg.pth"); }),
                 "vgg.pth: not the weights of VGG-19:\n  missing: features.0"));
}

TEST_CASE("initial weights follow the specification") {
  const Config config = preset("quick");
  auto deviation = [](const Tensor& w) { return std::sqrt(mean(mul(w, w)).item()); };
  AsapNet published(config, 1), xavier(config, 1, SpectralInit::xavier);
  const std::string conv = "lowres_stream.model.1.0.weight", spectral = "discriminator_0.model1.0.0.weight_orig";
  // Xavier normal, gain 0.02: 0.02 * sqrt(2 / (9 * (13 + 16))); 2000 draws.
  CHECK(deviation(*published.generator().state_dict().find(conv)) ==
        doctest::Approx(0.02 * std::sqrt(2.0 / 261)).epsilon(0.1));
  // Uniform +-1/sqrt(fan_in): deviation 1/sqrt(3 * 16 * 16); and xavier for 16 -> 32 channels of 4x4.
  CHECK(deviation(*published.discriminator().state_dict().find(spectral)) ==
        doctest::Approx(1 / std::sqrt(768.0)).epsilon(0.05));
  CHECK(deviation(*xavier.discriminator().state_dict().find(spectral)) ==
        doctest::Approx(0.02 * std::sqrt(2.0 / 768)).epsilon(0.05));
  CHECK(AsapNet(config, 1).generator().state_dict().find(conv)->to_vector<float>() ==
        published.generator().state_dict().find(conv)->to_vector<float>());
  CHECK(AsapNet(config, 2).generator().state_dict().find(conv)->to_vector<float>() !=
        published.generator().state_dict().find(conv)->to_vector<float>());
}

}  // namespace
}  // namespace asap
