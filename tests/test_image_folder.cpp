// A folder of labelled pictures: its classes, its pictures as tensors, and loading them ahead.
#include <doctest/doctest.h>

#include <filesystem>

#include "tests/support/tiny_run.h"
#include "tests/support/scratch.h"
#include "tests/support/skip.h"
#include "train/data/image_folder.h"
#include "train/data/prefetcher.h"
#include "train/pictures/image_files.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;

namespace {

// class dark: 10x8 pictures of value 10 + i; class light: 8x20, left half 100, right half 200.
void make_pictures(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder / "dark" / "deeper");
  std::filesystem::create_directories(folder / "light");
  for (int i = 0; i < 3; ++i) {
    write_png(folder / "dark" / (i == 2 ? "deeper/2.png" : std::to_string(i) + ".png"), Image(10, 8, 3, static_cast<uint8_t>(10 + i)));
  }
  Image halves(20, 8, 3, 100);
  for (int y = 0; y < 8; ++y) {
    for (int x = 10; x < 20; ++x) halves.at(x, y, 0) = halves.at(x, y, 1) = halves.at(x, y, 2) = 200;
  }
  write_png(folder / "light" / "a.png", halves);
}

}  // namespace

TEST_CASE("subfolders are classes, in the order of their names") {
  ran();
  const ScratchFolder scratch;
  make_pictures(scratch.path());
  const ImageFolder folder = list_image_folder(scratch.path());
  CHECK(folder.classes == std::vector<std::string>{"dark", "light"});
  REQUIRE(folder.pictures.size() == 4);
  CHECK(folder.pictures[2].path == scratch / "dark/deeper/2.png");
  CHECK(folder.pictures[2].label == 0);
  CHECK(folder.pictures[3].label == 1);

  CHECK(contains(error_of([&] { list_image_folder(scratch / "dark/deeper"); }), "2.png: lies in no class; expected"));
  std::filesystem::create_directories(scratch / "empty/class");
  CHECK(contains(error_of([&] { list_image_folder(scratch / "empty"); }), "expected pictures in subfolders"));
  CHECK(contains(error_of([&] { list_image_folder(scratch / "nowhere"); }), "nowhere"));
}

TEST_CASE("a picture is scaled by its shorter side, cropped and mirrored") {
  ran();
  const ScratchFolder scratch;
  make_pictures(scratch.path());
  const LabelledFile light{scratch / "light/a.png", 1};
  const auto column = [&](const SampleRandom& random, int x) { return load_labelled_picture(light, 8, random).picture.at(x, 4, 0); };
  CHECK(column({.crop_u = 0}, 0) == 100);
  CHECK(column({.crop_u = 0.999}, 7) == 200);
  CHECK(column({}, 0) == 100);  // the centre: columns 6 to 13
  CHECK(column({}, 7) == 200);
  CHECK(column({.flip = true}, 0) == 200);
  CHECK(load_labelled_picture(light, 4).picture.width == 4);
  CHECK(contains(error_of([&] { load_labelled_picture(light, 0); }), "positive size"));
  write_text(scratch / "light/b.png", "not a picture");
  CHECK(contains(error_of([&] { load_labelled_picture({scratch / "light/b.png", 1}, 8); }), "b.png"));
}

TEST_CASE("labelled pictures are loaded ahead and become tensors") {
  ran();
  const ScratchFolder scratch;
  make_pictures(scratch.path());
  const ImageFolder folder = list_image_folder(scratch.path());
  Prefetcher<LabelledPicture> loader(
      std::ssize(folder.pictures), [&](int64_t, int64_t i) { return load_labelled_picture(folder.pictures[static_cast<size_t>(i)], 8); },
      {.batch_size = 3, .shuffle = false, .drop_last = false});
  loader.start_epoch(1);
  const PictureBatch first = to_tensors(*loader.next()), last = to_tensors(*loader.next());
  CHECK_FALSE(loader.next().has_value());
  CHECK(first.pictures.shape() == Shape{3, 3, 8, 8});
  CHECK(first.labels.to_vector<int32_t>() == std::vector<int32_t>{0, 0, 0});
  CHECK(last.labels.to_vector<int32_t>() == std::vector<int32_t>{1});
  const std::vector<float> values = first.pictures.to_vector<float>();
  CHECK(values[0] == doctest::Approx((10 / 255. - 0.5) / 0.5));
  CHECK(values[2 * 3 * 64 + 5] == doctest::Approx((12 / 255. - 0.5) / 0.5));
  CHECK(contains(error_of([] { to_tensors({}); }), "got none"));
  CHECK(contains(error_of([] { to_tensors({{Image(8, 8, 3), 0}, {Image(9, 8, 3), 0}}); }), "expected pictures of 8x8, got 9x8"));
}
