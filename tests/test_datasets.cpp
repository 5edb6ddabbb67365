// Finding pairs of files, turning them into samples, the instance maps, and loading ahead (train/data).
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <set>

#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/data/instance_maps.h"
#include "train/data/load_sample.h"
#include "train/data/prefetch_loader.h"
#include "train/data/random.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"
#include "train/pictures/resize.h"

using namespace asap;
using namespace asap::train;
using asap::tests::contains;
using asap::tests::error_of;
using asap::tests::ScratchFolder;
namespace fs = std::filesystem;

namespace {

void touch(const fs::path& path) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << "x";
}

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

std::vector<uint8_t> gray_palette() {
  std::vector<uint8_t> palette;
  for (int i = 0; i < 768; ++i) palette.push_back(uint8_t(i / 3));
  return palette;
}

std::vector<std::string> names(const std::vector<Pair>& pairs) {
  std::vector<std::string> out;
  for (const Pair& p : pairs) out.push_back(p.name);
  return out;
}

// Photo, label and instance that tell where each pixel came from: photo (x, y, 0), label x % 13, instance x + y * 256.
Pair write_traceable(const fs::path& folder, int width, int height) {
  Image photo(width, height, 3);
  LabelMap label(width, height), instance(width, height);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      photo.at(x, y, 0) = uint8_t(x);
      photo.at(x, y, 1) = uint8_t(y);
      label.at(x, y) = x % 13;
      instance.at(x, y) = y;
    }
  const Pair pair{"t", folder / "label.png", folder / "photo.png", folder / "instance.png"};
  write_png(pair.image, photo);
  write_label_png(pair.label, label, gray_palette());
  write_label_png(pair.instance, instance, gray_palette());
  return pair;
}

}  // namespace

// ---- pairs ----

TEST_CASE("facades: the CMP base folder with its own, a given and the published split") {
  asap::tests::ran();
  ScratchFolder folder;
  for (int i = 1; i <= 378; ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "base/cmp_b%04d", i);
    touch(folder / (std::string(name) + ".png"));
    touch(folder / (std::string(name) + ".jpg"));
  }
  DatasetOptions options{.root = folder.path(), .phase = "test"};
  const auto test = list_pairs(options);
  REQUIRE(test.size() == 60);
  CHECK(test.front().name == "cmp_b0001");
  CHECK(test.back().image == folder / "base/cmp_b0060.jpg");
  CHECK(test.back().instance.empty());
  options.phase = "train";
  const auto train = list_pairs(options);
  REQUIRE(train.size() == 318);
  CHECK(train.front().name == "cmp_b0061");
  CHECK(train.back().label == folder / "base/cmp_b0378.png");

  write_text(folder / "mine.txt", "# a comment\ncmp_b0007.png\r\n\n  cmp_b0002\n");
  options.split_file = folder / "mine.txt";
  CHECK(names(list_pairs(options)) == std::vector<std::string>{"cmp_b0002", "cmp_b0007"});
  write_text(folder / "split_val.txt", "cmp_b0009");
  options = {.root = folder.path(), .phase = "val"};
  CHECK(names(list_pairs(options)) == std::vector<std::string>{"cmp_b0009"});

  options.phase = "other";
  CHECK(contains(error_of([&] { list_pairs(options); }), "give a split file"));
  fs::remove(folder / "base/cmp_b0100.jpg");
  fs::remove(folder / "base/cmp_b0101.png");
  options.phase = "train";
  const std::string lacking = error_of([&] { list_pairs(options); });
  CHECK(contains(lacking, "lacks 2 file(s) of the published split"));
  CHECK(contains(lacking, "cmp_b0100.jpg, cmp_b0101.png"));
  write_text(folder / "mine.txt", "cmp_b0007\ncmp_b0007\n");
  options.split_file = folder / "mine.txt";
  CHECK(contains(error_of([&] { list_pairs(options); }), "cmp_b0007 twice"));
}

TEST_CASE("facades: published folders, and what is said when files lack a partner") {
  ScratchFolder folder;
  for (const char* name : {"b", "a"}) {
    touch(folder / "train_label" / (std::string(name) + ".png"));
    touch(folder / "train_img" / (std::string(name) + ".JPG"));
  }
  touch(folder / "train_img/.hidden.jpg");
  touch(folder / "train_img/notes.txt");
  const DatasetOptions options{.root = folder.path(), .phase = "train"};
  const auto pairs = list_pairs(options);
  CHECK(names(pairs) == std::vector<std::string>{"a", "b"});
  CHECK(pairs[0].image == folder / "train_img/a.JPG");

  touch(folder / "train_label/c.png");
  touch(folder / "train_img/d.png");
  const std::string text = error_of([&] { list_pairs(options); });
  CHECK(contains(text, "1 label(s) without an image: c.png"));
  CHECK(contains(text, "1 image(s) without a label: d.png"));

  DatasetOptions generate = options;  // labels alone will do
  generate.need_images = false;
  CHECK(list_pairs(generate).size() == 3);
  CHECK(list_pairs(generate)[0].image.empty());

  touch(folder / "train_img/a.png");
  CHECK(contains(error_of([&] { list_pairs(options); }), "two files are called a"));
  const DatasetOptions elsewhere{.root = folder / "train_img", .phase = "train"};
  CHECK(contains(error_of([&] { list_pairs(elsewhere); }), "found neither"));
  const DatasetOptions nowhere{.root = folder / "nope"};
  CHECK(contains(error_of([&] { list_pairs(nowhere); }), "does not exist"));
}

TEST_CASE("cityscapes: label, instance and photo share city, sequence and frame") {
  ScratchFolder folder;
  for (const char* frame : {"ulm_000001_000019", "aachen_000000_000019"}) {
    const std::string city = std::string(frame).substr(0, 3);
    for (const char* tail : {"_gtFine_labelIds.png", "_gtFine_instanceIds.png", "_gtFine_color.png"})
      touch(folder / ("val_labels/" + city) / (std::string(frame) + tail));
    touch(folder / ("val_images/" + city) / (std::string(frame) + "_leftImg8bit.png"));
  }
  DatasetOptions options{.layout = DatasetLayout::cityscapes, .root = folder.path(), .phase = "val", .use_instances = true};
  const auto pairs = list_pairs(options);
  CHECK(names(pairs) == std::vector<std::string>{"aachen_000000_000019", "ulm_000001_000019"});
  CHECK(pairs[1].instance.filename() == "ulm_000001_000019_gtFine_instanceIds.png");
  CHECK(pairs[1].label.filename() == "ulm_000001_000019_gtFine_labelIds.png");
  fs::remove(pairs[0].instance);
  CHECK(contains(error_of([&] { list_pairs(options); }),
                 "1 label(s) without an instance map: aachen_000000_000019_gtFine_labelIds.png"));
  options.use_instances = false;
  CHECK(list_pairs(options).size() == 2);
}

TEST_CASE("custom: three folders, matched by stem; long lists are shortened") {
  ScratchFolder folder;
  for (int i = 0; i < 12; ++i) {
    touch(folder / ("l/" + std::to_string(i) + ".png"));
    touch(folder / ("n/" + std::to_string(i) + ".png"));
    touch(folder / ("p/" + std::to_string(i) + ".bmp"));
  }
  DatasetOptions options{
      .layout = DatasetLayout::custom, .label_dir = folder / "l", .image_dir = folder / "p", .instance_dir = folder / "n"};
  const auto pairs = list_pairs(options);
  REQUIRE(pairs.size() == 12);
  CHECK(pairs[2].name == "10");
  CHECK(pairs[2].instance == folder / "n/10.png");
  for (int i = 0; i < 12; ++i) fs::remove(folder / ("p/" + std::to_string(i) + ".bmp"));
  CHECK(contains(error_of([&] { list_pairs(options); }),
                 "12 label(s) without an image: 0.png, 1.png, 10.png, 11.png, 2.png, 3.png, 4.png, 5.png and 4 more"));
  options.image_dir = "";
  CHECK(contains(error_of([&] { list_pairs(options); }), "expected a folder of photos (--image-dir), none was given"));
}

// ---- samples ----

TEST_CASE("every preprocess mode gives the size it promises") {
  ScratchFolder folder;
  const Pair pair = write_traceable(folder.path(), 100, 150);
  struct Case {
    const char* mode;
    int load, crop;
    double aspect;
    int width, height;
  };
  for (const Case& c : {Case{"resize_and_crop", 72, 64, 1, 64, 64},
                        {"resize_and_crop", 80, 64, 2, 64, 32},
                        {"crop", 1, 64, 1, 64, 64},
                        {"scale_width", 60, 9, 1, 60, 90},
                        {"scale_width_and_crop", 60, 48, 1, 48, 48},
                        {"scale_shortside", 70, 9, 1, 70, 105},
                        {"scale_shortside_and_crop", 70, 64, 1, 64, 64},
                        {"fixed", 1, 64, 2, 64, 32},
                        {"none", 1, 1, 1, 96, 160}}) {
    CAPTURE(c.mode);
    const PreprocessOptions options{
        .mode = preprocess_from_name(c.mode), .load_size = c.load, .crop_size = c.crop, .aspect_ratio = c.aspect};
    CHECK(std::string(preprocess_name(options.mode)) == c.mode);
    const Sample sample = load_sample(pair, options, {});
    CHECK(sample.width() == c.width);
    CHECK(sample.height() == c.height);
    CHECK(sample.photo.width == c.width);
    CHECK(sample.photo.height == c.height);
    CHECK(sample.instance.width == c.width);
    CHECK(sample.instance.height == c.height);
  }
  CHECK(contains(error_of([] { preprocess_from_name("squash"); }), "expected one of resize_and_crop, crop,"));
}

TEST_CASE("crop and mirroring hit label, photo and instance alike, and reach every position") {
  ScratchFolder folder;
  const Pair pair = write_traceable(folder.path(), 70, 66);
  const PreprocessOptions options{.mode = Preprocess::crop, .crop_size = 64};
  std::set<int> lefts, tops;
  for (int i = 0; i < 200; ++i) {
    const SampleRandom random = sample_random(1, 2, i);
    const Sample s = load_sample(pair, options, random);
    const int left = s.photo.at(random.flip ? 63 : 0, 0, 0), top = s.photo.at(0, 0, 1);
    lefts.insert(left);
    tops.insert(top);
    for (int y : {0, 31, 63})
      for (int x : {0, 17, 63}) {
        const int from_x = left + (random.flip ? 63 - x : x);
        REQUIRE(s.photo.at(x, y, 0) == from_x);
        REQUIRE(s.label.at(x, y) == from_x % 13);
        REQUIRE(s.instance.at(x, y) == top + y);
      }
  }
  CHECK(lefts == std::set<int>{0, 1, 2, 3, 4, 5, 6});
  CHECK(tops == std::set<int>{0, 1, 2});
  CHECK(load_sample(pair, options, {}).photo.at(0, 0, 0) == 3);  // the centre
}

TEST_CASE("photos are resized as Pillow does, labels by nearest neighbour") {
  ScratchFolder folder;
  const Pair pair = write_traceable(folder.path(), 100, 80);
  const Sample s = load_sample(pair, {.mode = Preprocess::fixed, .crop_size = 64}, {});
  CHECK(s.photo == resize_bicubic(read_photo(pair.image), 64, 64));
  CHECK(s.label == resize_nearest(read_label_png(pair.label), 64, 64));
}

TEST_CASE("labels outside the classes are errors that name file, value and range; 255 may mean don't care") {
  ScratchFolder folder;
  LabelMap labels(32, 32, 3);
  labels.at(5, 7) = 13;
  const Pair pair{"x", folder / "x.png", {}, {}};
  write_label_png(pair.label, labels, gray_palette());
  PreprocessOptions options{.mode = Preprocess::fixed, .crop_size = 32};
  const std::string text = error_of([&] { load_sample(pair, options, {}); });
  CHECK(contains(text, "x.png: expected labels 0 to 12 (label_nc = 13), found 13 at column 5, row 7"));
  CHECK_FALSE(contains(text, "dontcare"));

  labels.at(5, 7) = 255;
  write_label_png(pair.label, labels, gray_palette());
  CHECK(contains(error_of([&] { load_sample(pair, options, {}); }), "set contain_dontcare_label"));
  options.contain_dontcare_label = true;
  const Sample sample = load_sample(pair, options, {});
  CHECK(sample.label.at(5, 7) == 13);
  CHECK(sample.label.at(6, 7) == 3);
  CHECK(sample.photo.empty());
}

TEST_CASE("RGB-to-RGB: the label is a picture") {
  ScratchFolder folder;
  const Pair traceable = write_traceable(folder.path(), 64, 64);
  const Pair pair{"p", traceable.image, traceable.image, {}};
  const Sample sample = load_sample(pair, {.mode = Preprocess::fixed, .crop_size = 32, .no_one_hot = true}, {.flip = true});
  CHECK(sample.label.empty());
  CHECK(sample.label_rgb == sample.photo);
  CHECK(sample.label_rgb.at(0, 0, 0) > sample.label_rgb.at(31, 0, 0));
  std::vector<float> chw(3 * 32 * 32);
  image_to_floats(sample.label_rgb, chw.data());
  CHECK(chw[0] == (sample.photo.at(0, 0, 0) / 255.0f - 0.5f) / 0.5f);
}

TEST_CASE("aligned: the halves of a picture are label and photo, cropped and mirrored alike") {
  ScratchFolder folder;
  Image whole(140, 66, 3);
  for (int y = 0; y < 66; ++y)
    for (int x = 0; x < 140; ++x) {
      whole.at(x, y, 0) = uint8_t(x);
      whole.at(x, y, 1) = uint8_t(y);
    }
  Pair pair{"ab", folder / "ab.png", folder / "ab.png", {}, Half::left};
  write_png(pair.label, whole);
  const PreprocessOptions options{.mode = Preprocess::crop, .crop_size = 64, .no_one_hot = true};
  for (const Half half : {Half::left, Half::right}) {
    pair.label_half = half;
    const int label_from = half == Half::left ? 0 : 70, photo_from = 70 - label_from;
    for (int i = 0; i < 20; ++i) {
      const SampleRandom random = sample_random(1, 2, i);
      const Sample s = load_sample(pair, options, random);
      const int left = s.label_rgb.at(random.flip ? 63 : 0, 0, 0) - label_from, top = s.label_rgb.at(0, 0, 1);
      REQUIRE(left >= 0);
      REQUIRE(left <= 6);
      for (int y : {0, 31, 63})
        for (int x : {0, 17, 63}) {
          const int from_x = left + (random.flip ? 63 - x : x);
          REQUIRE(s.label_rgb.at(x, y, 0) == label_from + from_x);
          REQUIRE(s.photo.at(x, y, 0) == photo_from + from_x);
          REQUIRE(s.label_rgb.at(x, y, 1) == top + y);
          REQUIRE(s.photo.at(x, y, 1) == top + y);
        }
    }
  }
  Pair label_alone{"ab", folder / "ab.png", {}, {}, Half::right};
  const Sample sample = load_sample(label_alone, options, {});
  CHECK(sample.photo.empty());
  CHECK(sample.label_rgb.at(0, 0, 0) == 73);  // the centre of the right half
  write_png(pair.label, Image(141, 66, 3));
  CHECK(contains(error_of([&] { load_sample(pair, options, {}); }), "ab.png: expected a picture A|B of two halves, found an odd width: 141x66"));
}

TEST_CASE("sizes that don't fit are errors with both sizes") {
  ScratchFolder folder;
  Pair pair = write_traceable(folder.path(), 40, 50);
  CHECK(contains(error_of([&] { load_sample(pair, {.mode = Preprocess::crop, .crop_size = 48}, {}); }),
                 "this picture of 40x50 becomes 40x50, too small for the crop of 48x48; --crop-size 24 would fit"));
  for (const auto& [mode, load, needed] : {std::tuple{Preprocess::scale_width_and_crop, 60, "--load-size 64"},
                                           {Preprocess::scale_shortside_and_crop, 32, "--load-size 64"}}) {
    PreprocessOptions options{.mode = mode, .load_size = load, .crop_size = 64};
    CHECK(contains(error_of([&] { load_sample(pair, options, {}); }), std::string(needed) + " or more, or --crop-size 32 would fit"));
    options.load_size = 64;
    CHECK(load_sample(pair, options, {}).width() == 64);
  }
  fs::create_directories(folder / "lying");
  const Pair lying = write_traceable(folder.path() / "lying", 100, 30);  // the width follows from the height and back
  PreprocessOptions wide{.mode = Preprocess::scale_width_and_crop, .load_size = 100, .crop_size = 32};
  CHECK(contains(error_of([&] { load_sample(lying, wide, {}); }), "--load-size 107 or more, or --crop-size 16 would fit"));
  wide.load_size = 107;
  CHECK(load_sample(lying, wide, {}).height() == 32);
  CHECK(contains(error_of([&] { load_sample(pair, {.load_size = 100'000, .crop_size = 48}, {}); }), "at most 100000000 pixels"));
  CHECK(contains(error_of([&] { load_sample(pair, {.aspect_ratio = 0}, {}); }), "aspect_ratio"));
  write_png(pair.image, Image(20, 20, 3));
  CHECK(
      contains(error_of([&] { load_sample(pair, {.mode = Preprocess::none}, {}); }), "expected a photo of 40x50 like its label"));
  CHECK(load_sample(pair, {.load_size = 64, .crop_size = 64}, {}).photo.width == 64);  // square modes bring them together
  write_png(pair.instance, Image(40, 40, 1));
  CHECK(contains(error_of([&] { load_sample(pair, {.load_size = 64, .crop_size = 64}, {}); }),
                 "expected an instance map of 40x50"));
}

TEST_CASE("order and augmentation are pure functions of seed, epoch and index") {
  const auto order = sample_order(100, 5, 1);
  CHECK(order == sample_order(100, 5, 1));
  CHECK(order != sample_order(100, 5, 2));
  CHECK(order != sample_order(100, 6, 1));
  auto sorted = order;
  std::sort(sorted.begin(), sorted.end());
  for (int i = 0; i < 100; ++i) REQUIRE(sorted[i] == i);
  CHECK(sample_order(0, 1, 1).empty());
  // Computed from the definition in another language. They may never change: resuming a run relies on them.
  CHECK(sample_order(6, 1, 1) == std::vector<int64_t>{1, 4, 5, 3, 0, 2});

  int flips = 0;
  double sum = 0;
  for (int i = 0; i < 4000; ++i) {
    const SampleRandom r = sample_random(3, 1, i);
    flips += r.flip;
    sum += r.crop_u;
    CHECK_FALSE(sample_random(3, 1, i, false).flip);
    CHECK(sample_random(3, 1, i, false).crop_v == r.crop_v);
  }
  CHECK(std::abs(flips - 2000) < 160);  // 5 standard deviations
  CHECK(std::abs(sum / 4000 - 0.5) < 0.023);
}

TEST_CASE("shuffling is unbiased: every element is equally often first") {
  int first[5] = {};
  for (int epoch = 0; epoch < 5000; ++epoch) ++first[sample_order(5, 9, epoch)[0]];
  for (int n : first) CHECK(std::abs(n - 1000) < 142);  // 5 standard deviations
}

// ---- instance maps ----

TEST_CASE("instance edges: a pixel that differs from any of its 4 neighbours") {
  LabelMap map(4, 3);
  map.at(1, 1) = 7;
  CHECK(instance_edges(map) == std::vector<float>{0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0});
  CHECK(instance_edges(LabelMap(1, 1)) == std::vector<float>{0});
}

TEST_CASE("instance distance equals the distance to the nearest edge pixel, by brute force") {
  HashRandom random({11});
  for (const auto& [width, height] : {std::pair{23, 17}, {1, 9}, {9, 1}, {40, 31}}) {
    LabelMap map(width, height);
    for (int spot = 0; spot < 3; ++spot) map.at(int(random.below(width)), int(random.below(height))) = 1 + spot;
    const auto edges = instance_edges(map), distance = instance_distance(map);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) {
        int64_t best = INT64_MAX;
        for (int v = 0; v < height; ++v)
          for (int u = 0; u < width; ++u)
            if (edges[size_t(v) * width + u] > 0) best = std::min(best, int64_t(u - x) * (u - x) + int64_t(v - y) * (v - y));
        REQUIRE(distance[size_t(y) * width + x] == float(std::sqrt(double(best))));
      }
  }
  const auto none = instance_distance(LabelMap(3, 4));
  CHECK(none == std::vector<float>(12, 5.0f));
}

// ---- loading ahead ----

namespace {

// A sample whose label remembers epoch and index; slower for some indices, so that threads overtake each other.
Sample slow_sample(int64_t epoch, int64_t index) {
  std::this_thread::sleep_for(std::chrono::microseconds(200 * (index * 7 % 5)));
  Sample sample;
  sample.name = std::to_string(epoch) + "/" + std::to_string(index);
  return sample;
}

std::vector<std::string> drain(PrefetchLoader& loader) {
  std::vector<std::string> all;
  while (auto batch = loader.next()) {
    std::string line;
    for (const Sample& s : *batch) line += s.name + " ";
    all.push_back(line);
  }
  return all;
}

}  // namespace

TEST_CASE("loader: the same batches in the same order for any number of threads, from any starting point") {
  std::vector<std::string> expected;
  for (int threads : {1, 2, 7}) {
    PrefetchLoader loader(23, slow_sample, {.batch_size = 4, .threads = threads, .batches_ahead = 2, .seed = 3});
    CHECK(loader.batches_per_epoch() == 5);
    CHECK_FALSE(loader.next().has_value());
    loader.start_epoch(6);
    const auto all = drain(loader);
    CHECK_FALSE(loader.next().has_value());
    REQUIRE(all.size() == 5);
    if (expected.empty()) expected = all;
    CHECK(all == expected);
    loader.start_epoch(6, 2);  // as a resumed run does
    CHECK(drain(loader) == std::vector<std::string>(expected.begin() + 2, expected.end()));
    loader.start_epoch(7);
    CHECK(drain(loader) != expected);
  }
  PrefetchLoader in_order(5, slow_sample, {.batch_size = 2, .shuffle = false, .drop_last = false});
  in_order.start_epoch(1);
  CHECK(drain(in_order) == std::vector<std::string>{"1/0 1/1 ", "1/2 1/3 ", "1/4 "});
}

TEST_CASE("loader: the ranks' shares, one behind the other, are the batch of one rank") {
  const LoaderOptions all{.batch_size = 4, .threads = 2, .batches_ahead = 2, .seed = 3};
  PrefetchLoader alone(23, slow_sample, all);
  for (int ranks : {2, 4}) {
    std::vector<std::string> together(3);
    for (int rank = 0; rank < ranks; ++rank) {
      LoaderOptions mine = all;
      mine.ranks = {.rank = rank, .size = ranks};
      PrefetchLoader loader(23, slow_sample, mine);
      CHECK(loader.batches_per_epoch() == 5);
      loader.start_epoch(6, 2);
      const auto shares = drain(loader);
      REQUIRE(shares.size() == 3);
      for (size_t i = 0; i < shares.size(); ++i) together[i] += shares[i];
    }
    alone.start_epoch(6, 2);
    CHECK(drain(alone) == together);
  }
  const auto refused = [](const LoaderOptions& options) { return error_of([&] { PrefetchLoader(23, slow_sample, options); }); };
  CHECK(refused({.batch_size = 3, .ranks = {.rank = 0, .size = 2}}) ==
        "--batch-size 3, but 2 ranks share each batch evenly; choose a multiple of 2");
  CHECK(contains(refused({.batch_size = 4, .ranks = {.rank = 0, .size = 2}, .drop_last = false}), "cannot be shared among 2 ranks"));
}

TEST_CASE("loader: no more than batches_ahead wait, and restarting or leaving early is clean") {
  std::atomic<int> loaded = 0;
  {
    PrefetchLoader loader(1000, [&](int64_t, int64_t) { return ++loaded, Sample(); },
                          {.batch_size = 2, .threads = 3, .batches_ahead = 4});
    loader.start_epoch(1);
    const auto settle = [&](int goal) {
      for (int i = 0; i < 2000 && loaded < goal; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return loaded.load();
    };
    CHECK(settle(8) == 8);
    loader.next();
    CHECK(settle(10) == 10);
    for (int i = 0; i < 20; ++i) loader.start_epoch(i);  // drops what is under way
    CHECK(loader.next()->size() == 2);
  }  // destroyed with work under way
  CHECK(loaded < 1000);
}

TEST_CASE("loader: an error surfaces at next(), in order, and names the file") {
  ScratchFolder folder;
  std::vector<Pair> pairs;
  for (int i = 0; i < 6; ++i) {
    const std::string name = std::to_string(i);
    pairs.push_back({name, folder / (name + ".png"), {}, {}});
    write_label_png(pairs.back().label, LabelMap(32, 32, 1), gray_palette());
  }
  write_text(pairs[3].label, "not a picture");
  PrefetchLoader loader(pairs, {.mode = Preprocess::fixed, .crop_size = 32}, {.threads = 3, .shuffle = false});
  loader.start_epoch(1);
  for (int i = 0; i < 3; ++i) CHECK(loader.next()->at(0).name == std::to_string(i));
  for (int again = 0; again < 2; ++again)
    CHECK(contains(error_of([&] { loader.next(); }), "3.png: expected a label map as PNG, found text"));
  loader.start_epoch(2, 4);
  CHECK(loader.next()->at(0).name == "4");

  CHECK(contains(error_of([&] { PrefetchLoader(pairs, {}, {.batch_size = 7}); }), "--batch-size 7, but the dataset has only 6 pairs; use at most 6"));
  CHECK(contains(error_of([&] { PrefetchLoader(pairs, {}, {.threads = 0}); }), "at least 1"));
}
