// The models of docs/examples against PyTorch's: the same weights, inputs and cotangents give the same outputs and gradients, from
// golden/model_*.safetensors (made by golden/make_models.py), in float64 and in float32.
#include <doctest/doctest.h>

#include <string>

#include "docs/examples/cppn.h"
#include "docs/examples/gpt.h"
#include "docs/examples/hdrnet.h"
#include "docs/examples/pix2pix.h"
#include "docs/examples/pix2pixhd_generator.h"
#include "docs/examples/resnet.h"
#include "docs/examples/spade_generator.h"
#include "docs/examples/vit.h"
#include "tests/support/golden.h"
#include "tests/support/skip.h"

namespace asap {
namespace {

using namespace examples;
using tests::Golden;
using tests::golden_difference;

// The goldens were computed in float64 and stored in float32: half an ulp, 6e-8.
constexpr double kFloat64 = 1e-7;
// Measured: at most 1e-6 of the largest value. Models say where theirs is worse.
constexpr double kFloat32 = 5e-6;

// What a model is called with: the golden's inputs, floating ones of the model's type.
struct Inputs {
  const Golden& golden;
  DType dtype;
  Variable operator()(const char* name) const { return golden.at(str("in.", name)).to(dtype); }
  const Tensor& labels(const char* name) const { return golden.at(str("in.", name)); }
};

// run(inputs) gives the model's output. float32_tolerance: of outputs and gradients in float32.
template <class Run>
void check_model(const std::string& name, double float32_tolerance, nn::Module& model, const Run& run) {
  tests::ran();
  CAPTURE(name);
  const Golden golden("model_" + name);
  for (DType dtype : {DType::f64, DType::f32}) {
    const std::string type = asap::name(dtype);
    CAPTURE(type);
    const double tolerance = dtype == DType::f64 ? kFloat64 : float32_tolerance;
    const Inputs inputs{golden, dtype};
    model.to(dtype);
    model.load_state_dict(golden.with_prefix("w."), name);
    if (golden.has("y_eval")) {
      model.eval();
      CHECK(golden_difference(run(inputs).value(), golden.at("y_eval")) < tolerance);
      model.train();
    }
    const Variable y = run(inputs);
    CHECK(golden_difference(y.value(), golden.at("y")) < tolerance);
    y.backward(golden.at("c").to(dtype));
    int gradients = 0;
    for (const auto& parameter : model.named_parameters()) {
      const std::string& key = parameter.first;
      if (!golden.has("g." + key)) continue;
      CAPTURE(key);
      CHECK(golden_difference(parameter.second.grad(), golden.at("g." + key)) < tolerance);
      ++gradients;
    }
    CHECK(gradients > 3);
  }
}

// Its last batch norms see 12 values: measured 6e-6.
TEST_CASE("ResNet-18 matches PyTorch's") {
  ResNet18 net(5, 3);
  check_model("resnet18", 3e-5, net, [&](const Inputs& in) { return net(in("x")); });
}

// The first blocks normalise two pixels: float32 knows their difference to fewer digits. Measured 1e-4, with batch norms 3e-4.
TEST_CASE("SPADE's generator matches PyTorch's") {
  SpadeGenerator net({.classes = 4, .width = 1, .hidden = 2, .doublings = 6});
  check_model("spade", 5e-4, net, [&](const Inputs& in) { return net(one_hot(in.labels("labels"), 4, in.dtype)); });
  SpadeGenerator batch({.classes = 3, .width = 1, .hidden = 2, .norm = SpadeNorm::batch});
  check_model("spade_batch", 1e-3, batch,
              [&](const Inputs& in) { return batch(one_hot(in.labels("labels"), 3, in.dtype)); });
}

TEST_CASE("pix2pixHD's generator matches PyTorch's") {
  Pix2pixHdGenerator net({.classes = 4, .width = 2, .halvings = 2, .blocks = 2});
  check_model("pix2pixhd", kFloat32, net,
              [&](const Inputs& in) { return net(one_hot(in.labels("labels"), 4, in.dtype)); });
}

TEST_CASE("pix2pix's U-Net and discriminator match PyTorch's") {
  UNet net({.classes = 4, .width = 2, .halvings = 5, .dropout = 0});
  check_model("pix2pix", kFloat32, net,
              [&](const Inputs& in) { return net(one_hot(in.labels("labels"), 4, in.dtype)); });
  PatchGan discriminator(5, 3);
  check_model("patchgan", kFloat32, discriminator, [&](const Inputs& in) { return discriminator(in("x")); });
}

TEST_CASE("the GPT matches PyTorch's") {
  Gpt net({.vocabulary = 11, .context = 9, .width = 16, .heads = 4, .layers = 2, .dropout = 0});
  check_model("gpt", kFloat32, net, [&](const Inputs& in) { return net.forward(in.labels("tokens")); });
}

TEST_CASE("the vision transformer matches PyTorch's") {
  Vit net({.channels = 2, .side = 16, .patch = 4, .width = 16, .heads = 2, .layers = 2, .classes = 5});
  check_model("vit", kFloat32, net, [&](const Inputs& in) { return net(in("x")); });
}

TEST_CASE("the network with Fourier features matches PyTorch's") {
  Cppn net(16, 3, 20, 2);
  check_model("cppn", kFloat32, net, [&](const Inputs& in) { return net(in("places")); });
}

// PyTorch's slices its grid with grid_sample in three dimensions.
TEST_CASE("HDRnet matches PyTorch's") {
  Hdrnet net({.small = 32, .grid = 8, .depth = 4, .width = 4});
  check_model("hdrnet", kFloat32, net, [&](const Inputs& in) { return net(in("x")); });
}

}  // namespace
}  // namespace asap
