// The networks that pictures are judged by, each against PyTorch's numbers of a narrow copy (golden/make_judge.py), and files that are
// not what they should be. The command is test_evaluate.cpp's.
#include <doctest/doctest.h>

#include "asapnet/feature_net.h"
#include "asapnet/lpips.h"
#include "asapnet/segmenter.h"
#include "nn/init.h"
#include "tests/support/golden.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/pictures/metrics.h"

using namespace asap;
using namespace asap::tests;
using asapnet::Lpips;

namespace {

const Golden& golden() {
  static const Golden file("judge");
  return file;
}

const Lpips::Sources kSources{.backbone = "b.pth", .heads = "h.pth"};

Lpips lpips(const std::string& backbone, const std::string& heads) {
  return {golden().with_prefix(backbone + "/"), golden().with_prefix(heads + "/heads/"), kSources};
}

nn::StateDict without(const nn::StateDict& weights, const std::string& key) {
  nn::StateDict rest;
  for (const auto& [name, tensor] : weights)
    if (name != key) rest.set(name, tensor);
  return rest;
}

}  // namespace

TEST_CASE("Inception-v3 with pytorch-fid's keys and poolings equals PyTorch's in f64") {
  ran();
  const nn::StateDict weights = golden().with_prefix("inception/");
  const asapnet::FeatureNet net(weights, "w");
  CHECK(net.name() == "Inception-v3 (2015-12-05)");
  CHECK(net.side() == 0);
  const Tensor y = net.forward(golden().at("inception x"));
  CHECK(y.shape() == Shape{1, net.dimensions()});
  CHECK(golden_difference(y, golden().at("inception y")) < 5e-6);

  const auto complaint = [](const nn::StateDict& w) { return error_of([&] { asapnet::FeatureNet(w, "w.pth"); }); };
  CHECK(complaint(without(weights, "Mixed_6c.branch7x7dbl_4.conv.weight")) ==
        "w.pth: not the weights of Inception-v3 (2015-12-05):\n  missing: Mixed_6c.branch7x7dbl_4.conv.weight");
  CHECK(contains(complaint(without(weights, "Mixed_7c.branch_pool.bn.running_var")),
                 "missing: Mixed_7c.branch_pool.conv.bias"));
}

TEST_CASE("LPIPS equals PyTorch's in f64, of sides that halve evenly and of others") {
  ran();
  for (const std::string name : {"AlexNet", "VGG-16", "SqueezeNet 1.1"}) {
    const Lpips metric = lpips(name, name);
    CHECK(metric.name() == name);
    for (const std::string size : {"64x48", "34x37", "41x34"}) {
      CAPTURE(name + " " + size);
      const Tensor a = golden().at(size + "/a"), b = golden().at(size + "/b");
      CHECK(metric.distance(a, b) == doctest::Approx(golden().at(name + "/" + size).item()).epsilon(1e-5));
      CHECK(metric.distance(b, a) == metric.distance(a, b));
      CHECK(metric.distance(a, a) == 0);
    }
    const auto side = static_cast<int64_t>(metric.least_side());
    const Tensor least = Tensor::full({1, 3, side, side}, 0.5), less = Tensor::full({1, 3, side - 1, side}, 0.5);
    CHECK(metric.distance(least, least) == 0);
    CHECK(contains(error_of([&] { metric.distance(less, less); }), str("of at least ", side, " pixels a side")));
  }
}

TEST_CASE("LPIPS: heads of another backbone, and what is neither") {
  ran();
  CHECK(error_of([] { lpips("VGG-16", "AlexNet"); }) ==
        "h.pth: the heads are for features of 4, 6, 8, 7, 5 channels, but b.pth is VGG-16 with 3, 4, 6, 5, 7");
  const nn::StateDict alexnet = golden().with_prefix("AlexNet/");
  nn::StateDict heads = golden().with_prefix("AlexNet/heads/");
  CHECK(contains(error_of([&] { Lpips(alexnet, alexnet, kSources); }),
                 "h.pth: expected the heads of LPIPS (lin0.model.1.weight, ...), found none"));
  CHECK(contains(error_of([&] { Lpips(heads, heads, kSources); }), "b.pth: expected the weights of AlexNet"));
  CHECK(contains(error_of([] {
                   Lpips(without(golden().with_prefix("VGG-16/"), "features.10.bias"),
                         golden().with_prefix("VGG-16/heads/"), kSources);
                 }),
                 "b.pth: not the weights of VGG-16:\n  missing: features.10.bias"));
  heads.set("lin2.model.1.weight", Tensor::zeros({8}));
  CHECK(contains(error_of([&] { Lpips(alexnet, heads, kSources); }), "expected lin2.model.1.weight (1,c,1,1)"));
}

TEST_CASE(
    "the segmenter equals PyTorch's in f64, its depth and widths are the file's, and it draws no numbers of the "
    "caller's") {
  ran();
  const nn::StateDict weights = golden().with_prefix("segmenter/");
  const RandomStream before = nn::default_random();
  const auto segmenter = asapnet::Segmenter::from_weights(weights, "s");
  CHECK(nn::default_random().offset == before.offset);
  CHECK(segmenter->classes() == 5);
  const NoGrad no_grad;
  const Tensor x = golden().at("34x37/a"), logits = segmenter->forward(x).value();
  CHECK(golden_difference(logits, golden().at("segmenter y")) < 5e-6);
  CHECK(segmenter->classify(x).to_vector<int32_t>() == argmax(logits, 1).to_vector<int32_t>());

  const auto complaint = [](const nn::StateDict& w) {
    return error_of([&] { asapnet::Segmenter::from_weights(w, "s.pth"); });
  };
  CHECK(contains(complaint({}), "s.pth: expected the weights of a segmenter"));
  CHECK(contains(complaint(without(weights, "up.1.0.weight")), "up.1.0.weight"));
}

TEST_CASE("confusion: the three scores of Long, Shelhamer and Darrell; labels that are no class count nowhere") {
  ran();
  const Tensor labels = golden().at("confusion/labels"), predicted = golden().at("confusion/predicted");
  const auto classes = predicted.to_vector<int32_t>();
  train::LabelMap map(static_cast<int>(labels.size(1)), static_cast<int>(labels.size(0)));
  map.values = labels.to_vector<int32_t>();
  train::Confusion confusion(6);
  const size_t half = classes.size() / 2;
  train::LabelMap first(static_cast<int>(half), 1), rest(static_cast<int>(classes.size() - half), 1);
  std::copy_n(map.values.begin(), half, first.values.begin());
  std::copy(map.values.begin() + static_cast<int64_t>(half), map.values.end(), rest.values.begin());
  confusion.add(first, {classes.data(), half});
  confusion.add(rest, {classes.data() + half, classes.size() - half});
  const auto expected = golden().at("confusion/scores").to_vector<double>();
  CHECK(confusion.pixel_accuracy() == doctest::Approx(expected[0]).epsilon(1e-14));
  CHECK(confusion.class_accuracy() == doctest::Approx(expected[1]).epsilon(1e-14));
  CHECK(confusion.mean_iou() == doctest::Approx(expected[2]).epsilon(1e-14));
  CHECK(contains(error_of([&] { confusion.add(first, classes); }), "expected a class for each of 63 pixels, got 126"));
}
