// The models of docs/examples against PyTorch's: the same weights, inputs and cotangents give the same outputs and gradients, from
// golden/model_*.safetensors (made by golden/make_models.py), in float64 and in float32.
#include <doctest/doctest.h>

#include <algorithm>

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

// What a model is called with: the golden's inputs, floating ones of the model's type.
struct Inputs {
  const Golden& golden;
  DType dtype;
  Variable operator()(const char* name) const { return golden.at(str("in.", name)).to(dtype); }
  const Tensor& labels(const char* name) const { return golden.at(str("in.", name)); }
};

// run(model, inputs) gives the output. float32_tolerance: of outputs and gradients in float32.
template <class Model, class Make, class Run>
void check_model(const char* name, double float32_tolerance, const Make& make, const Run& run) {
  tests::ran();
  const Golden golden(str("model_", name));
  for (DType dtype : {DType::f64, DType::f32}) {
    const double tolerance = dtype == DType::f64 ? kFloat64 : float32_tolerance;
    const std::unique_ptr<Model> model = make();
    CAPTURE(name);
    CAPTURE(asap::name(dtype));
    model->load_state_dict(golden.with_prefix("w."), name);
    model->to(dtype);
    if (golden.has("y_eval")) {
      model->eval();
      CHECK(golden_difference(run(*model, Inputs{golden, dtype}).value(), golden.at("y_eval")) < tolerance);
      model->train();
    }
    const Variable y = run(*model, Inputs{golden, dtype});
    CHECK(golden_difference(y.value(), golden.at("y")) < tolerance);
    y.backward(golden.at("c").to(dtype));
    int gradients = 0;
    for (const auto& [key, parameter] : model->named_parameters()) {
      if (!golden.has("g." + key)) continue;
      CAPTURE(key);
      CHECK(golden_difference(parameter.grad(), golden.at("g." + key)) < tolerance);
      ++gradients;
    }
    CHECK(gradients > 3);
  }
}

TEST_CASE("ResNet-18 matches PyTorch's") {
  check_model<ResNet18>(
      "resnet18", 1e-5, [] { return std::make_unique<ResNet18>(5, 3); },
      [](ResNet18& net, const Inputs& in) { return net(in("x")); });
}

TEST_CASE("SPADE's generator matches PyTorch's") {
  // The first block normalises pairs of pixels, whose difference float32 knows to fewer digits: measured 1.1e-4.
  check_model<SpadeGenerator>(
      "spade", 5e-4,
      [] {
        return std::make_unique<SpadeGenerator>(SpadeOptions{.classes = 4, .width = 1, .hidden = 2, .doublings = 6});
      },
      [](SpadeGenerator& net, const Inputs& in) { return net(one_hot(in.labels("labels"), 4, in.dtype)); });
}

TEST_CASE("SPADE's generator with batch norms matches PyTorch's") {
  const SpadeOptions options{.classes = 3, .width = 1, .hidden = 2, .norm = SpadeNorm::batch};
  check_model<SpadeGenerator>(
      "spade_batch", 5e-4, [&] { return std::make_unique<SpadeGenerator>(options); },
      [](SpadeGenerator& net, const Inputs& in) { return net(one_hot(in.labels("labels"), 3, in.dtype)); });
}

TEST_CASE("pix2pixHD's generator matches PyTorch's") {
  const Pix2pixHdOptions options{.classes = 4, .width = 2, .halvings = 2, .blocks = 2};
  check_model<Pix2pixHdGenerator>(
      "pix2pixhd", 1e-5, [&] { return std::make_unique<Pix2pixHdGenerator>(options); },
      [](Pix2pixHdGenerator& net, const Inputs& in) { return net(one_hot(in.labels("labels"), 4, in.dtype)); });
}

TEST_CASE("pix2pix's U-Net and discriminator match PyTorch's") {
  const UNetOptions options{.classes = 4, .width = 2, .halvings = 5, .dropout = 0};
  check_model<UNet>(
      "pix2pix", 1e-5, [&] { return std::make_unique<UNet>(options); },
      [](UNet& net, const Inputs& in) { return net(one_hot(in.labels("labels"), 4, in.dtype)); });
  check_model<PatchGan>(
      "patchgan", 1e-5, [] { return std::make_unique<PatchGan>(5, 3); },
      [](PatchGan& net, const Inputs& in) { return net(in("x")); });
}

TEST_CASE("the GPT matches PyTorch's") {
  const GptOptions options{.vocabulary = 11, .context = 9, .width = 16, .heads = 4, .layers = 2, .dropout = 0};
  check_model<Gpt>(
      "gpt", 1e-5, [&] { return std::make_unique<Gpt>(options); },
      [](Gpt& net, const Inputs& in) { return net.forward(in.labels("tokens").to(DType::i32)); });
}

TEST_CASE("the vision transformer matches PyTorch's") {
  const VitOptions options{.channels = 2, .side = 16, .patch = 4, .width = 16, .heads = 2, .layers = 2, .classes = 5};
  check_model<Vit>(
      "vit", 1e-5, [&] { return std::make_unique<Vit>(options); },
      [](Vit& net, const Inputs& in) { return net(in("x")); });
}

TEST_CASE("the network with Fourier features matches PyTorch's") {
  check_model<Cppn>(
      "cppn", 1e-5, [] { return std::make_unique<Cppn>(16, 3, 20, 2); },
      [](Cppn& net, const Inputs& in) { return net(in("places")); });
}

// PyTorch's slices its grid with grid_sample in three dimensions.
TEST_CASE("HDRnet matches PyTorch's") {
  check_model<Hdrnet>(
      "hdrnet", 1e-5,
      [] { return std::make_unique<Hdrnet>(HdrnetOptions{.small = 32, .grid = 8, .depth = 4, .width = 4}); },
      [](Hdrnet& net, const Inputs& in) { return net(in("x")); });
}

}  // namespace
}  // namespace asap
