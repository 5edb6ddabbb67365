// generate and evaluate on several ranks: the program itself, started with --ranks, against what one process makes and prints.
#include <doctest/doctest.h>

#include <map>
#include <regex>

#include "tests/support/ranks.h"
#include "train/run/judge.h"
#include "train/synth/synth.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;

namespace {

namespace fs = std::filesystem;

// Seven pairs, which neither two nor three ranks share evenly.
struct Workplace {
  ScratchFolder folder;
  fs::path data = folder / "data", maps = folder / "maps", photos = folder / "photos";
  Workplace() {
    write_synthetic_facades(data, {.count = 7, .size = 64, .seed = 3, .test_share = 1, .threads = 1});
    fs::create_directory(maps);
    fs::create_directory(photos);
    for (const auto& entry : fs::directory_iterator(data / "base")) {
      const bool is_map = entry.path().extension() == ".png";
      fs::copy_file(entry.path(), (is_map ? maps : photos) / entry.path().filename());
    }
  }
  Ended run(int ranks, std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--threads", "1"});
    if (arguments[0] != "train") arguments.insert(arguments.end(), {"--ranks", std::to_string(ranks)});
    return run_to_end(folder.path(), arguments);
  }
  // Pictures of 128 x 128 in a folder of their own, whose name all that is told is free of.
  Ended generate(int ranks, const std::string& name = "made") const {
    const fs::path out = folder / (name + std::to_string(ranks));
    Ended ended = run(ranks, {"generate", "--labels", maps.string(), "--size", "128", "--out", out.string()});
    ended.out = std::regex_replace(ended.out, std::regex(out.string()), "OUT");
    ended.out = std::regex_replace(ended.out, std::regex("[0-9.]+ ms"), "T ms");
    return ended;
  }
  std::map<std::string, std::string> files(const std::string& name) const {
    std::map<std::string, std::string> texts;
    for (const auto& entry : fs::directory_iterator(folder / name)) texts[entry.path().filename()] = read_text(entry.path());
    return texts;
  }
};

void check_equal(const Ended& one, const Ended& several) {
  CHECK(one.code == several.code);
  CHECK(one.out == several.out);
  CHECK(one.error == several.error);
}

Image noise(int seed) {
  Image image(16, 16, 3);
  for (int i = 0; i < 16 * 16 * 3; ++i) image.pixels[static_cast<size_t>(i)] = static_cast<uint8_t>((i + 7) * (seed + 3) * 37 % 251);
  return image;
}

}  // namespace

TEST_CASE("several ranks generate the files of one, and tell of them in the same order") {
  if (!can_run_ranks()) return;
  const Workplace place;
  const Ended one = place.generate(1);
  CAPTURE(one.error);
  REQUIRE(one.code == 0);
  REQUIRE(place.files("made1").size() == 7);
  for (const int ranks : {2, 3}) {
    CAPTURE(ranks);
    check_equal(one, place.generate(ranks));
    CHECK(place.files("made1") == place.files("made" + std::to_string(ranks)));
  }
}

TEST_CASE("what cannot be used is listed, whichever rank met it; the rest is made") {
  if (!can_run_ranks()) return;
  const Workplace place;
  for (const char* bad : {"cmp_b0002.png", "cmp_b0007.png"}) write_text(place.maps / bad, "no picture");
  const Ended one = place.generate(1), two = place.generate(2);
  CHECK(one.code == 1);
  check_equal(one, two);
  CHECK(contains(two.error, "2 of 7 label maps could not be used:"));
  CHECK(contains(two.error, "cmp_b0007.png"));
  CHECK(place.files("made1").size() == 5);
  CHECK(place.files("made1") == place.files("made2"));
  const std::vector<std::string> single{"generate", "--labels", (place.maps / "cmp_b0007.png").string(), "--out", (place.folder / "x").string()};
  check_equal(place.run(1, single), place.run(4, single));  // three of the four have nothing to do
}

TEST_CASE("several ranks evaluate to the numbers of one, to the bit") {
  if (!can_run_ranks()) return;
  const Workplace place;
  const auto evaluate = [&](int ranks, const std::vector<std::string>& of) {
    std::vector<std::string> arguments{"evaluate"};
    arguments.insert(arguments.end(), of.begin(), of.end());
    arguments.insert(arguments.end(), {"--out", (place.folder / ("scores" + std::to_string(ranks) + ".json")).string()});
    return place.run(ranks, arguments);
  };
  const auto scores = [&](int ranks) { return read_text(place.folder / ("scores" + std::to_string(ranks) + ".json")); };
  const auto check_alike = [&](const std::vector<std::string>& of) {
    const Ended one = evaluate(1, of);
    CAPTURE(one.error);
    REQUIRE(one.code == 0);
    for (const int ranks : {2, 3}) {
      CAPTURE(ranks);
      check_equal(one, evaluate(ranks, of));
      CHECK(scores(1) == scores(ranks));
    }
  };
  REQUIRE(place.run(1, {"generate", "--labels", place.maps.string(), "--size", "64", "--out", (place.folder / "made").string()}).code == 0);
  const std::vector<std::string> folders{"--pictures", (place.folder / "made").string(), "--references", place.photos.string(), "--tile", "8"};
  check_alike(folders);
  const fs::path run = place.folder / "run";
  REQUIRE(place.run(1, {"train", "--preset", "quick", "--data", place.data.string(), "--phase", "test", "--crop-size", "64", "--load-size",
                        "64", "--learned-ds-factor", "4", "--no-vgg-loss", "--steps", "1", "--batch-size", "1", "--out", run.string()})
              .code == 0);
  check_alike({"--weights", run.string()});

  write_text(place.folder / "made" / "cmp_b0006.png", "no picture");  // the last rank's
  const Ended one = evaluate(1, folders), two = evaluate(2, folders);
  CHECK(two.code == 1);
  check_equal(one, two);
  CHECK(contains(two.error, "cmp_b0006.png"));
}

TEST_CASE("a judge that collects from itself alone has what it had, again after a restart") {
  ran();
  const JudgeOptions options{.metrics = {"psnr", "ssim"}};
  Judge plain(options, {.count = 3, .smallest = "a", .width = 16, .height = 16});
  Judge collected(options, {.count = 3, .smallest = "a", .width = 16, .height = 16});
  for (int round = 0; round < 2; ++round) {
    for (Judge* judge : {&plain, &collected}) {
      judge->restart();
      for (int i = 0; i < 3; ++i) judge->add(noise(i + 10 * round), noise(i + 100), {});
    }
    collected.collect({});
    for (size_t i = 0; i < 2; ++i) CHECK(plain.scores()[i].value == collected.scores()[i].value);
  }
}
