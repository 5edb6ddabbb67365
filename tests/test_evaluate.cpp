// asapnet evaluate: each number against its reference implementation (golden/make_evaluate.py), the command from run to table
// and JSON, and what it refuses. Features of the real networks are compared in test_real_data.cpp.
#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "asapnet/feature_distance.h"
#include "asapnet/feature_net.h"
#include "nn/safetensors.h"
#include "tensor/threads.h"
#include "tests/support/formula_picture.h"
#include "tests/support/golden.h"
#include "tests/support/program.h"
#include "train/pictures/image_files.h"
#include "train/pictures/metrics.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

const Golden& golden() {
  static const Golden file("evaluate");
  return file;
}

double expected(const std::string& key) { return golden().at(key).data<double>()[0]; }

doctest::Approx near(double value, double tolerance = 1e-12) { return doctest::Approx(value).epsilon(tolerance); }

// make_evaluate.py's small().
struct SmallNet {
  nn::StateDict weights;

  void add(const std::string& key, int64_t out, int64_t in, int64_t kernel) {
    const uint64_t number = weights.size() / 2;
    const int64_t fan_in = in * kernel * kernel;
    weights.set(key + ".weight", values(2 * number, {out, in, kernel, kernel}, std::sqrt(24.0 / double(fan_in))));
    weights.set(key + ".bias", values(2 * number + 1, {out}, 1));
  }

 private:
  static Tensor values(uint64_t k, const Shape& shape, double scale) {
    Tensor x = Tensor::empty(shape);
    for (int64_t i = 0; i < x.numel(); ++i) {
      auto h = static_cast<uint32_t>(static_cast<uint64_t>(i) * 2654435761u + k * 2246822519u);
      h ^= h >> 15;
      h *= 2246822519u;
      h ^= h >> 13;
      x.data<float>()[i] = static_cast<float>((h / 4294967296.0 - 0.5) * scale);
    }
    return x;
  }
};

nn::StateDict small_mobilenet() {
  SmallNet net;
  net.add("features.0.0", 4, 3, 3);
  int64_t width = 4;
  int block = 0;
  for (int64_t out : {2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 7, 7, 7, 8}) {
    const std::string key = str("features.", ++block, ".conv.");
    const bool widens = block > 1;
    const int64_t wide = widens ? 6 : width;
    if (widens) net.add(key + "0.0", wide, width, 1);
    net.add(key + (widens ? "1.0" : "0.0"), wide, 1, 3);
    net.add(key + (widens ? "2" : "1"), out, wide, 1);
    width = out;
  }
  net.add("features.18.0", 10, width, 1);
  return net.weights;
}

nn::StateDict small_squeezenet() {
  SmallNet net;
  net.add("features.0", 4, 3, 3);
  int64_t width = 4;
  for (int fire : {3, 4, 6, 7, 9, 10, 11, 12}) {
    const std::string key = str("features.", fire, ".");
    net.add(key + "squeeze", 2, width, 1);
    net.add(key + "expand1x1", 3, 2, 1);
    net.add(key + "expand3x3", 4, 2, 3);
    width = 7;
  }
  return net.weights;
}

// A trained run, and weights of a feature net.
struct Gallery : Workshop {
  fs::path features = folder / "features.safetensors", json = folder / "scores" / "all.json";

  Gallery() { nn::write_safetensors(features, small_squeezenet()); }
  std::vector<std::string> evaluate(const std::vector<std::string>& more) const {
    std::vector<std::string> all{"evaluate", "--weights", text(trained)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

// Two folders of n pictures.
struct Folders {
  ScratchFolder folder;
  fs::path pictures = folder / "made", references = folder / "photos";

  explicit Folders(int n, int width = 37, int height = 29) {
    for (const fs::path& path : {pictures, references}) fs::create_directories(path);
    for (int i = 0; i < n; ++i) {
      const std::string name = str("p", i, ".png");
      write_png(pictures / name, formula_picture(width, height));
      write_png(references / name, formula_reference(width, height));
    }
  }
  std::vector<std::string> evaluate(const std::vector<std::string>& more) const {
    std::vector<std::string> all{"evaluate", "--pictures", text(pictures), "--references", text(references)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

Json json_of(const fs::path& path) { return Json::parse(read_text(path)); }

}  // namespace

TEST_CASE("psnr, ssim, ms-ssim and seams equal the reference implementations") {
  ran();
  for (const auto& [width, height] : {std::pair{37, 29}, {192, 176}}) {
    const Image a = formula_picture(width, height), b = formula_reference(width, height);
    const std::string size = size_text(width, height) + "/";
    CAPTURE(size);
    CHECK(psnr(a, b) == near(expected(size + "psnr")));
    CHECK(ssim(a, b) == near(expected(size + "ssim")));
    CHECK(tile_seams(a, 8) == near(expected(size + "seams")));
    if (height >= kMsSsimSide) CHECK(ms_ssim(a, b) == near(expected(size + "ms-ssim"), 1e-7));  // its window is f32
  }
}

TEST_CASE("pictures at the ends of the scales") {
  ran();
  const Image a = formula_reference(176, 176);
  CHECK(psnr(a, a) == kInfinity);
  CHECK(ssim(a, a) == near(1));
  CHECK(ms_ssim(a, a) == near(1));
  CHECK(psnr(Image(8, 8, 3, 0), Image(8, 8, 3, 255)) == 0);
  CHECK(ssim(Image(11, 11, 3, 0), Image(11, 11, 3, 255)) == near(1 / (1 + 1 / 0.0001), 1e-9));  // luminance alone
  Image opposite = a;
  for (uint8_t& v : opposite.pixels) v = static_cast<uint8_t>(255 - v);
  CHECK(ms_ssim(a, opposite) == 0);
  CHECK(ms_ssim(crop(a, 0, 0, 176, 176), a) == near(1));

  CHECK(tile_seams(Image(8, 8, 3, 7), 4) == 1);
  Image tiles(8, 8, 1);
  for (int y = 0; y < 8; ++y)
    for (int x = 4; x < 8; ++x) tiles.at(x, y, 0) = 50;
  CHECK(tile_seams(tiles, 4) == kInfinity);
  CHECK(tile_seams(tiles, 3) == 0);
  for (int y = 0; y < 8; ++y) tiles.at(1, y, 0) = 10;
  // 16 differences at borders sum to 8*50; 96 others to 8*20.
  CHECK(tile_seams(tiles, 4) == near((400.0 / 16) / (160.0 / 96)));

  CHECK(contains(error_of([&] { ssim(Image(10, 40, 3), Image(10, 40, 3)); }), "at least 11 pixels a side, got 10x40"));
  CHECK(contains(error_of([&] { ms_ssim(Image(175, 200, 3), Image(175, 200, 3)); }), "at least 176 pixels"));
  CHECK(
      contains(error_of([&] { psnr(Image(4, 4, 3), Image(4, 5, 3)); }), "pictures of equal size, got 4x4x3 and 4x5x3"));
  CHECK(contains(error_of([&] { tile_seams(tiles, 8); }), "larger than one tile"));
}

TEST_CASE("ms-ssim of odd sizes drops the last row and column of a scale") {
  ran();
  const Image a = formula_picture(177, 191), b = formula_reference(177, 191);
  const double odd = ms_ssim(a, b), even = ms_ssim(crop(a, 0, 0, 176, 176), crop(b, 0, 0, 176, 176));
  CHECK(odd == doctest::Approx(even).epsilon(0.01));  // the first scale alone sees what the others drop
}

TEST_CASE("Frechet and kernel distance equal SciPy's and NumPy's, with fewer pictures than dimensions too") {
  ran();
  for (const std::string name : {"many", "few", "mixed"}) {
    CAPTURE(name);
    const Tensor x = golden().at(name + "/x"), y = golden().at(name + "/y");
    CHECK(asapnet::frechet_distance(x, y) == near(expected(name + "/frechet"), 1e-10));
    CHECK(asapnet::kernel_distance(x, y) == near(expected(name + "/kernel"), 1e-12));
    CHECK(asapnet::frechet_distance(y, x) == near(expected(name + "/frechet"), 1e-10));
    CHECK(std::abs(asapnet::frechet_distance(x, x)) < 1e-12);
  }
  const Tensor x = golden().at("many/x"), y = golden().at("few/x");
  CHECK(contains(error_of([&] { asapnet::frechet_distance(x, y); }), "expected equal dimensions, got 5 and 7"));
  CHECK(contains(error_of([&] { asapnet::kernel_distance(x, x.slice(0, 0, 1)); }), "at least two pictures"));
}

TEST_CASE("feature nets equal PyTorch's in f64") {
  ran();
  const Tensor x = network_input(formula_picture(224, 224));
  for (const nn::StateDict& weights : {small_mobilenet(), small_squeezenet()}) {
    const asapnet::FeatureNet net(weights, "w");
    CAPTURE(net.name());
    const Tensor features = net.forward(x);
    CHECK(features.shape() == Shape{1, net.dimensions()});
    CHECK(golden_difference(features, golden().at("small " + net.name())) < 2e-6);
  }
}

TEST_CASE("feature nets: a batch norm behind a convolution is folded into it") {
  ran();
  nn::StateDict unfolded;
  const double mean = 0.5, variance = 3, gamma = 2, scale = gamma / std::sqrt(variance + 1e-5);
  for (const auto& [name, tensor] : small_mobilenet()) {
    if (name.ends_with(".weight")) {
      unfolded.set(name, affine(tensor, 1 / scale, 0));
      continue;
    }
    const std::string conv = name.substr(0, name.size() - 5);
    std::string norm = conv;
    ++norm.back();
    const auto constant = [&bias = tensor](double value) { return affine(bias, 0, value); };
    unfolded.set(norm + ".weight", constant(gamma));
    unfolded.set(norm + ".bias", affine(tensor, 1, mean * scale));
    unfolded.set(norm + ".running_mean", constant(mean));
    unfolded.set(norm + ".running_var", constant(variance));
  }
  const asapnet::FeatureNet net(unfolded, "w");
  CHECK(golden_difference(net.forward(network_input(formula_picture(224, 224))), golden().at("small MobileNetV2")) <
        1e-5);
}

TEST_CASE("feature nets: weights that do not fit are named") {
  ran();
  const auto complaint = [](const nn::StateDict& w) { return error_of([&] { asapnet::FeatureNet(w, "w.pth"); }); };
  CHECK(contains(complaint({}), "w.pth: expected the weights of MobileNetV2"));
  nn::StateDict without;
  for (const auto& [name, tensor] : small_mobilenet())
    if (name != "features.3.conv.1.0.bias") without.set(name, tensor);
  CHECK(complaint(without) == "w.pth: not the weights of MobileNetV2:\n  missing: features.3.conv.1.0.bias");
  nn::StateDict wrong = small_squeezenet();
  wrong.set("features.9.expand3x3.weight", Tensor::zeros({4, 2, 1, 1}));
  CHECK(contains(complaint(wrong), "wrong shape: features.9.expand3x3.weight"));
  const asapnet::FeatureNet net(small_squeezenet(), "w");
  CHECK(contains(error_of([&] { net.forward(Tensor::zeros({1, 3, 64, 64})); }), "expected pictures (n,3,224,224)"));
}

TEST_CASE("evaluate: a run against its data set") {
  ran();
  const Gallery gallery;
  const Result result = run(gallery.evaluate({"--features", text(gallery.features), "--out", text(gallery.json)}));
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(contains(result.error, "without ms-ssim: cmp_b000"));
  CHECK(contains(result.error, "is 32x32, and 176 pixels a side are needed"));
  CHECK(contains(result.error, "frechet: 2 pictures for 7 features: the number is biased"));
  for (const char* part : {"2 pictures: ", "psnr ", "ssim ", "seams ", "seams_of_references ", "frechet ", "kernel ",
                           "of SqueezeNet 1.1 features (7), crc32 "})
    CHECK(contains(result.out, part));
  CHECK_FALSE(contains(result.out, "ms-ssim"));

  // The numbers of what generate saves.
  const fs::path made = gallery.folder / "made";
  REQUIRE(run({"generate", "--weights", text(gallery.trained), "--out", text(made)}).code == 0);
  const Json all = json_of(gallery.json);
  CHECK(all["pictures"] == 2);
  CHECK(all["tile"] == 2);
  double sum = 0;
  for (const Json& one : all["per_picture"]) {
    const std::string name = one["name"];
    const Image a = read_photo(made / (name + ".png")), b = read_photo(gallery.data / "base" / (name + ".jpg"));
    CHECK(one["psnr"].get<double>() == psnr(a, b));
    CHECK(one["ssim"].get<double>() == ssim(a, b));
    CHECK(one["seams"].get<double>() == tile_seams(a, 2));
    CHECK(one["seams_of_references"].get<double>() == tile_seams(b, 2));
    sum += one["psnr"].get<double>();
  }
  CHECK(all["metrics"]["psnr"]["mean"].get<double>() == near(sum / 2));
  const double d = all["per_picture"][0]["psnr"].get<double>() - all["per_picture"][1]["psnr"].get<double>();
  CHECK(all["metrics"]["psnr"]["standard_deviation"].get<double>() == near(std::abs(d) / std::sqrt(2), 1e-9));

  // The folder of generate's pictures gives the same.
  fs::path photos = gallery.folder / "photos";
  fs::create_directories(photos);
  for (const Json& one : all["per_picture"]) {
    const std::string name = one["name"];
    fs::copy(gallery.data / "base" / (name + ".jpg"), photos / (name + ".jpg"));
  }
  const fs::path second = gallery.folder / "second.json";
  const Result folders = run({"evaluate", "--pictures", text(made), "--references", text(photos), "--tile", "2",
                              "--features", text(gallery.features), "--out", text(second)});
  CAPTURE(folders.error);
  REQUIRE(folders.code == 0);
  CHECK(json_of(second)["metrics"] == all["metrics"]);
  CHECK(json_of(second)["per_picture"] == all["per_picture"]);
}

TEST_CASE("evaluate: equal bits for one thread and two") {
  ran();
  const Gallery gallery;
  const int before = num_threads();
  std::vector<std::string> results;
  for (const char* threads : {"1", "2"}) {
    const Result result = run(gallery.evaluate(
        {"--features", text(gallery.features), "--threads", threads, "--size", "192", "--out", text(gallery.json)}));
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    results.push_back(result.out + read_text(gallery.json));
    CHECK(contains(result.out, "ms-ssim"));
  }
  set_num_threads(before);
  CHECK(results[0] == results[1]);
}

TEST_CASE("evaluate: native sizes, chosen metrics, equal pictures") {
  ran();
  const Gallery gallery;
  const Result native = run(gallery.evaluate({"--size", "native", "--metrics", "psnr,ssim"}));
  CAPTURE(native.error);
  CHECK(native.code == 0);
  CHECK_FALSE(contains(native.out, "seams"));
  const Folders folders(1);
  const fs::path json = folders.folder / "one.json";
  std::vector<std::string> same{"evaluate",
                                "--pictures",
                                text(folders.pictures),
                                "--references",
                                text(folders.folder / "copy"),
                                "--metrics",
                                "psnr",
                                "--out",
                                text(json)};
  fs::copy(folders.pictures, folders.folder / "copy");
  const Result result = run(same);
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(contains(result.out, "inf"));
  CHECK(contains(result.out, "1 picture: "));
  CHECK(json_of(json)["metrics"]["psnr"]["mean"].is_null());
}

TEST_CASE("evaluate: what cannot be had is refused before anything is computed") {
  ran();
  const Gallery gallery;
  const auto refused = [&](int code, const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    check_refused(gallery.evaluate(more), code, parts);
  };
  refused(2, {"--metrics", "fid"},
          {"--metrics: expected some of psnr, ssim, ms-ssim, lpips, seams, segmentation, frechet, kernel, got 'fid'"});
  refused(1, {"--metrics", "frechet"}, {"frechet: features of a network are needed", "--features FILE"});
  refused(1, {"--metrics", "ms-ssim"}, {"ms-ssim: cmp_b000", "is 32x32, and 176 pixels a side are needed"});
  refused(2, {"--metrics", "psnr", "--features", text(gallery.features)}, {"--features has no effect without frechet"});
  refused(1, {"--features", "/none"}, {"/none"});
  refused(1, {"--features", text(gallery.generator())}, {"G.safetensors: expected the weights of MobileNetV2"});
  refused(1, {"--data", "/none"}, {"/none"});
  refused(1, {"--size", "33"}, {"--size: "});
  refused(2, {"--tile", "4"}, {"--tile has no effect with --weights"});
  refused(2, {"--seed", "4"}, {"--seed has no effect on a model without codes"});
  refused(2, {"--size", "32", "--preprocess", "fixed"}, {"exclude each other"});
  refused(1, {"--out", text(gallery.data / "base" / "cmp_b0001.jpg")},
          {"is one of the pictures; choose another --out"});
  refused(1, {"--features", text(gallery.features), "--out", text(gallery.features)}, {"is a file of weights"});
  check_refused({"evaluate"}, 2, {"nothing to evaluate: give --weights PATH, or --pictures DIR and --references DIR"});
  write_text(gallery.data / "base" / "cmp_b0001.jpg", "no picture");
  refused(1, {"--out", text(gallery.json)}, {"pairs of pictures could not be used", "cmp_b0001.jpg: "});
  CHECK_FALSE(fs::exists(gallery.json));
}

TEST_CASE("evaluate: folders that do not fit each other") {
  ran();
  const Folders folders(2);
  const auto refused = [&](int code, const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    check_refused(folders.evaluate(more), code, parts);
  };
  refused(2, {"--size", "32"}, {"--size has no effect with --pictures and --references"});
  refused(2, {"--phase", "test"}, {"--phase has no effect with --pictures and --references"});
  refused(2, {"--tile", "1"}, {"--tile: expected 2 or more pixels, got 1"});
  refused(1, {"--metrics", "seams"}, {"seams: the side of the tiles is not known; give it with --tile N"});
  refused(1, {"--metrics", "seams", "--tile", "40"}, {"seams: p0 is 37x29, and 41 pixels a side are needed"});
  check_refused({"evaluate", "--pictures", text(folders.pictures)}, 2, {"belong together; give both"});
  write_png(folders.references / "p1.png", formula_reference(29, 37));
  refused(1, {}, {"p1.png is 37x29, but ", "p1.png is 29x37; pictures and references must be of equal size"});
  fs::remove(folders.references / "p1.png");
  refused(1, {}, {"p1"});
  fs::remove(folders.pictures / "p1.png");
  const Folders one(1);
  check_refused(one.evaluate({"--metrics", "kernel", "--features", "f"}), 1, {"kernel: one picture has no covariance"});
}
