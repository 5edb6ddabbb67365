// Synthetic facades: determinism, agreement of label and photo, the files they are written to; label colours and grids.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "tests/support/scratch.h"
#include "train/data/load_sample.h"
#include "train/data/random.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/picture_grid.h"
#include "train/synth/synth.h"

using namespace asap;
using namespace asap::train;
using asap::tests::contains;
using asap::tests::error_of;
using asap::tests::ScratchFolder;
namespace fs = std::filesystem;

namespace {

uint64_t checksum(std::span<const uint8_t> bytes) {
  uint64_t h = 0;
  for (uint8_t b : bytes) h = mix64(h + b + 1);
  return h;
}

double mean(const Image& image) {
  double sum = 0;
  for (uint8_t p : image.pixels) sum += p;
  return sum / double(image.pixels.size());
}

// The largest difference between houses of the mean colour of their walls (CMP class 2), a channel.
double spread_of_walls(bool same_style) {
  std::array<double, 3> least{255, 255, 255}, most{};
  for (int i = 1; i <= 8; ++i) {
    const SyntheticFacade f = make_synthetic_facade(64, 15, i, same_style);
    std::array<double, 3> sum{};
    double count = 0;
    for (size_t p = 0; p < f.label.values.size(); ++p) {
      if (f.label.values[p] != 2) continue;
      for (size_t c = 0; c < 3; ++c) sum[c] += f.photo.pixels[3 * p + c];
      ++count;
    }
    for (size_t c = 0; c < 3; ++c) {
      least[c] = std::min(least[c], sum[c] / count);
      most[c] = std::max(most[c], sum[c] / count);
    }
  }
  return std::max({most[0] - least[0], most[1] - least[1], most[2] - least[2]});
}

}  // namespace

TEST_CASE("synthetic facades: a pure function of size, seed and index, the same on every machine") {
  const SyntheticFacade a = make_synthetic_facade(64, 1, 1);
  CHECK(a.photo == make_synthetic_facade(64, 1, 1).photo);
  CHECK(a.label == make_synthetic_facade(64, 1, 1).label);
  CHECK_FALSE(a.label == make_synthetic_facade(64, 1, 2).label);
  CHECK_FALSE(a.label == make_synthetic_facade(64, 2, 1).label);

  // Recorded once; equal for gcc and clang, -O0 to -O3, with and without FMA. A deliberate change of the drawing changes them.
  uint64_t photos = 0, labels = 0;
  for (int i = 1; i <= 20; ++i) {
    const SyntheticFacade f = make_synthetic_facade(96, 7, i);
    photos = mix64(photos + checksum(f.photo.pixels));
    labels = mix64(labels + checksum({reinterpret_cast<const uint8_t*>(f.label.values.data()), f.label.values.size() * 4}));
  }
  CHECK(labels == 0xa59ec17472a4a10au);
  CHECK(photos == 0x6c726af2b43b51d3u);
}

TEST_CASE("synthetic facades: all twelve classes occur, the wall leads, and pictures differ in brightness and colour") {
  std::vector<int64_t> pixels(13, 0);
  std::vector<int> pictures_with(13, 0);
  double darkest = 255, brightest = 0;
  for (int i = 1; i <= 60; ++i) {
    const SyntheticFacade f = make_synthetic_facade(64, 3, i);
    REQUIRE(f.label.width == 64);
    REQUIRE(f.photo.height == 64);
    std::set<int32_t> found(f.label.values.begin(), f.label.values.end());
    for (int32_t v : f.label.values) ++pixels.at(size_t(v));
    for (int32_t v : found) ++pictures_with.at(size_t(v));
    darkest = std::min(darkest, mean(f.photo));
    brightest = std::max(brightest, mean(f.photo));
  }
  CHECK(pixels[0] == 0);
  for (int c = 1; c <= 12; ++c) {
    CAPTURE(c);
    CHECK(pictures_with[size_t(c)] >= 8);
  }
  CHECK(pixels[2] == *std::max_element(pixels.begin(), pixels.end()));
  CHECK(darkest > 40);
  CHECK(brightest < 215);
  CHECK(brightest - darkest > 50);
}

TEST_CASE("synthetic facades: photos change where labels change, and not where another picture's labels do") {
  // Mean brightness step between horizontal neighbours, at label borders over elsewhere.
  const auto contrast = [](const Image& photo, const LabelMap& label) {
    double sum[2] = {}, count[2] = {};
    for (int y = 0; y < label.height; ++y)
      for (int x = 1; x < label.width; ++x) {
        const int border = label.at(x, y) != label.at(x - 1, y);
        for (int c = 0; c < 3; ++c) sum[border] += std::abs(int(photo.at(x, y, c)) - photo.at(x - 1, y, c));
        count[border] += 3;
      }
    return (sum[1] / count[1]) / (sum[0] / count[0]);
  };
  double own = 1e9, foreign = 0;
  for (int i = 1; i <= 20; ++i) {
    const SyntheticFacade f = make_synthetic_facade(128, 5, i), other = make_synthetic_facade(128, 5, i + 100);
    own = std::min(own, contrast(f.photo, f.label));
    foreign += contrast(f.photo, other.label) / 20;
  }
  CAPTURE(own);
  CAPTURE(foreign);
  CHECK(own > 2);
  CHECK(foreign < 1.5);
}

TEST_CASE("synthetic facades: the same plan at every size") {
  const SyntheticFacade small = make_synthetic_facade(128, 2, 9), large = make_synthetic_facade(512, 2, 9),
                        other = make_synthetic_facade(512, 2, 10);
  int same = 0, by_chance = 0;
  for (int y = 0; y < 128; ++y)
    for (int x = 0; x < 128; ++x) {
      same += small.label.at(x, y) == large.label.at(4 * x + 2, 4 * y + 2);
      by_chance += small.label.at(x, y) == other.label.at(4 * x + 2, 4 * y + 2);
    }
  CAPTURE(by_chance);
  CHECK(same > 128 * 128 * 94 / 100);  // edges are rounded to whole pixels
  CHECK(by_chance < 128 * 128 * 60 / 100);
  CHECK(contains(error_of([] { make_synthetic_facade(16, 1, 1); }), "from 32 to 2048, got 16"));
}

TEST_CASE("synthetic facades of one style: other houses, their walls alike") {
  const SyntheticFacade a = make_synthetic_facade(64, 15, 1, true), b = make_synthetic_facade(64, 15, 2, true);
  CHECK_FALSE(a.label == b.label);
  CHECK(a.photo == make_synthetic_facade(64, 15, 1, true).photo);
  CHECK_FALSE(a.photo == make_synthetic_facade(64, 16, 1, true).photo);
  const double alike = spread_of_walls(true), varied = spread_of_walls(false);
  CAPTURE(alike);
  CAPTURE(varied);
  CHECK(alike < 40);  // shadows and stone bases
  CHECK(varied > 70);
}

TEST_CASE("synthetic facades on disk: what the facades dataset reads, whatever the number of threads") {
  ScratchFolder folder;
  write_synthetic_facades(folder / "a", {.count = 12, .size = 64, .seed = 4, .test_share = 0.25, .threads = 1});
  write_synthetic_facades(folder / "b", {.count = 12, .size = 64, .seed = 4, .test_share = 0.25, .threads = 3});
  for (int i = 1; i <= 12; ++i)
    for (const char* extension : {".jpg", ".png"}) {
      char name[32];
      std::snprintf(name, sizeof name, "base/cmp_b%04d", i);
      CHECK(read_file(folder / "a" / (std::string(name) + extension)) ==
            read_file(folder / "b" / (std::string(name) + extension)));
    }
  const auto test = list_pairs({.root = folder / "a", .phase = "test"}),
             train = list_pairs({.root = folder / "a", .phase = "train"});
  CHECK(test.size() == 3);
  REQUIRE(train.size() == 9);
  CHECK(train[0].name == "cmp_b0004");
  const Sample sample = load_sample(train[0], {.mode = Preprocess::fixed, .crop_size = 64}, {});
  const SyntheticFacade expected = make_synthetic_facade(64, 4, 4);
  CHECK(sample.label == expected.label);
  double difference = 0;
  for (size_t i = 0; i < expected.photo.pixels.size(); ++i)
    difference += std::abs(double(sample.photo.pixels[i]) - expected.photo.pixels[i]);
  CHECK(difference / double(expected.photo.pixels.size()) < 8);  // JPEG at quality 92; another picture differs by 40 and more

  CHECK(contains(error_of([&] { write_synthetic_facades(folder / "c", {.count = 0}); }), "count from 1 to 9999"));
  CHECK(contains(error_of([&] { write_synthetic_facades("/proc/no/such", {.count = 1}); }), "cannot be created"));
  write_file(folder / "file", std::vector<uint8_t>{1});
  CHECK(contains(error_of([&] { write_synthetic_facades(folder / "file", {.count = 1}); }), "cannot be created"));
}

TEST_CASE("label colours: the CMP palette, distinct colours beyond it, and an error for foreign values") {
  const auto cmp = label_palette(13);
  CHECK(std::vector<uint8_t>(cmp.begin() + 6, cmp.begin() + 9) == std::vector<uint8_t>{0, 0, 255});
  const auto many = label_palette(256);
  std::set<std::vector<uint8_t>> colours;
  for (int i = 0; i < 256; ++i) colours.insert({many.begin() + 3 * i, many.begin() + 3 * i + 3});
  CHECK(colours.size() == 256);

  LabelMap map(2, 1);
  map.values = {12, 3};
  const Image image = colorize(map, 13);
  CHECK(image.pixels == std::vector<uint8_t>{170, 0, 0, 0, 85, 255});
  CHECK(contains(error_of([&] { colorize(map, 12); }), "labels 0 to 11, got 12"));
}

TEST_CASE("grids: cells stand in rows with gaps, gray becomes RGB, uneven rows are refused") {
  const Image gray(2, 2, 1, 7), red = [] {
    Image image(3, 1, 3);
    for (int x = 0; x < 3; ++x) image.at(x, 0, 0) = 200;
    return image;
  }();
  const Image grid = compose_grid({{gray, red}, {red, gray}}, 1);
  REQUIRE(grid.width == 3 + 1 + 3);
  REQUIRE(grid.height == 2 + 1 + 2);
  CHECK(grid.at(1, 1, 2) == 7);
  CHECK(grid.at(2, 0, 0) == 255);  // beside the smaller cell
  CHECK(grid.at(4, 0, 0) == 200);
  CHECK(grid.at(4, 0, 1) == 0);
  CHECK(grid.at(3, 3, 0) == 255);  // the gap
  CHECK(grid.at(0, 3, 0) == 200);
  CHECK(contains(error_of([&] { compose_grid({{gray}, {gray, gray}}); }), "1 pictures in every row, row 1 has 2"));
}
