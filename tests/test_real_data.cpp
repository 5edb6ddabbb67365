// What needs the real facades and feature nets: a program of its own, so that without ASAP_DATA ctest reports it as skipped
// rather than passed. ASAP_DATA names a folder that holds facades/ and weights/.
#include <doctest/doctest.h>

#include <filesystem>

#include "asapnet/feature_net.h"
#include "asapnet/vgg.h"
#include "nn/checkpoint_file.h"
#include "tests/support/formula_picture.h"
#include "tests/support/golden.h"
#include "tests/support/skip.h"
#include "train/data/load_sample.h"
#include "train/data/prefetch_loader.h"

namespace asap {
namespace {

namespace fs = std::filesystem;
using namespace train;

std::string folder_or_skip() {
  const std::string folder = tests::data_folder();
  folder.empty() ? tests::skip("ASAP_DATA is not set: no real pictures and weights") : tests::ran();
  return folder;
}

TEST_CASE("real facades: every published pair loads") {
  const std::string data = folder_or_skip();
  if (data.empty()) return;
  int count = 0;
  std::vector<int64_t> pixels(13, 0);
  for (const char* phase : {"train", "test"}) {
    const auto pairs = list_pairs({.root = fs::path(data) / "facades", .phase = phase});
    PrefetchLoader loader(pairs, {.load_size = 286, .crop_size = 256}, {});
    loader.start_epoch(1);
    while (auto batch = loader.next()) {
      const Sample& s = batch->at(0);
      REQUIRE(s.photo.width == 256);
      REQUIRE(s.label.height == 256);
      for (int32_t v : s.label.values) ++pixels[size_t(v)];
      ++count;
    }
  }
  CHECK(count == 378);
  CHECK(pixels[0] == 0);  // the classes are 1 .. 12
  for (int c = 1; c <= 12; ++c) CHECK(pixels[size_t(c)] > 0);
}

TEST_CASE("safetensors: real weights load") {
  const std::string data = folder_or_skip();
  if (data.empty()) return;
  const nn::StateDict vgg = nn::read_state_dict(fs::path(data) / "weights/vgg19_distilled16x_relu5_1.safetensors");
  REQUIRE(vgg.contains("features.0.weight"));
  CHECK(vgg.find("features.0.weight")->shape() == Shape{16, 3, 3, 3});
}

TEST_CASE("the perceptual net takes the distilled VGG-19 with its heads") {
  const std::string data = folder_or_skip();
  if (data.empty()) return;
  const asapnet::Vgg19 vgg(nn::read_state_dict(data + "/weights/vgg19_distilled16x_relu5_1.safetensors"), true);
  CHECK(vgg.has_aux());
  const auto features = vgg.forward(random_uniform({1, 3, 64, 64}, {.seed = 1, .a = -1}));
  const int64_t widths[] = {64, 128, 256, 512, 512};
  for (size_t i = 0; i < features.size(); ++i) CHECK(features[i].shape() == Shape{1, widths[i], 64 >> i, 64 >> i});
}

TEST_CASE("the feature nets' features equal PyTorch's in f64") {
  const std::string data = folder_or_skip();
  if (data.empty()) return;
  const tests::Golden golden("evaluate");
  const Tensor x = tests::network_input(tests::formula_picture(224, 224));
  for (const char* file : {"mobilenetv2_features_bnfused", "squeezenet1_1"}) {
    const asapnet::FeatureNet net(nn::read_state_dict(data + "/weights/" + file + ".safetensors"), file);
    CAPTURE(net.name());
    CHECK(tests::golden_difference(net.forward(x), golden.at(net.name())) < 1e-5);
  }
}

}  // namespace
}  // namespace asap
