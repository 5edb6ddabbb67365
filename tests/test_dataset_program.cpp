// Data sets as the program's users meet them: what is refused before a run is made, and runs on nested folders, names with
// endings and pictures A|B. test_dataset_layouts.cpp has the listing itself.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/data_files.h"
#include "tests/support/program.h"
#include "train/pictures/image_files.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

// A folder with a config file of the tiny model; label maps and photos of 32x32 by name.
struct Shop {
  ScratchFolder folder;
  fs::path config = folder / "tiny.json", made = folder / "R";

  explicit Shop(const Names& files = {}) {
    Options options = tiny_options("");
    options.train.batchSize = 1;
    options.train.steps = 1;
    write_text(config, options_to_json(options));
    for (const std::string& file : files) add(file);
  }
  // A file of folder L is a label map of class 1, any other a photo in which every pixel tells its column.
  void add(const std::string& file, int width = 32, int height = 32) {
    fs::create_directories((folder / file).parent_path());
    if (file.starts_with("L/"))
      return write_label_png(folder / file, LabelMap(width, height, 1), std::vector<uint8_t>(768));
    Image photo(width, height, 3);
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x) photo.at(x, y, 0) = static_cast<uint8_t>(x * 7);
    write_png(folder / file, photo);
  }
  std::string at(const std::string& file) const { return (folder / file).string(); }
  Result train(const Names& more) const {
    Names all{"train", "--config", config.string(), "--out", made.string()};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
  Result train_custom(const Names& more = {}) const {
    Names all{"--dataset", "custom", "--label-dir", at("L"), "--image-dir", at("P")};
    all.insert(all.end(), more.begin(), more.end());
    return train(all);
  }
  Result generate(const Names& more, const std::string& out = "O") const {
    Names all{"generate", "--weights", made.string(), "--out", at(out)};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
};

// One sentence with every part, and nothing made.
void check_refused(const Shop& shop, const Result& result, int code, const Names& parts) {
  CHECK(result.code == code);
  CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
  check_contains(result.error, parts);
  CHECK_FALSE(fs::exists(shop.made));
}

void check_done(const Result& result) {
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
}

}  // namespace

TEST_CASE("case 14-nested-all: the program trains on subfolders, and its pictures keep them") {
  ran();
  const Shop shop({"L/sub/a0.png", "L/sub/a1.png", "P/sub/a0.png", "P/sub/a1.png"});
  check_done(shop.train_custom());
  check_done(shop.generate({}));
  CHECK(fs::exists(shop.at("O/sub/a0.png")));
  CHECK(fs::exists(shop.at("O/sub/a1.png")));
  check_done(shop.generate({"--labels", shop.at("L"), "--raw"}, "L/made"));
  check_done(shop.generate({"--labels", shop.at("L")}, "L/made"));  // its own pictures are no labels
  CHECK(fs::exists(shop.at("L/made/sub/a0.npy")));
  CHECK_FALSE(fs::exists(shop.at("L/made/made")));
}

TEST_CASE("a run within a folder of its data is refused, however the folder is spelled") {
  const Shop shop({"L/a0.png", "P/a0.png"});
  fs::create_directory_symlink(shop.at("L"), shop.at("link"));
  for (const char* out : {"L", "P", "L/run", "link/deep/run"}) {
    const Result result = run({"train", "--config", shop.config.string(), "--dataset", "custom", "--label-dir", shop.at("L"),
                               "--image-dir", shop.at("P"), "--out", shop.at(out)});
    check_refused(shop, result, 1, {"--out " + shop.at(out) + " lies in ", "choose a folder outside"});
    CHECK_FALSE(fs::exists(shop.folder / out / "config.json"));
  }
  check_done(shop.train_custom());  // beside them is fine
}

TEST_CASE("case 14-unicode-nfc-nfd: the program trains on names in either form") {
  const Shop shop(
      {"L/\xc3\xa9"
       "a0.png",
       "P/e\xcc\x81"
       "a0.png"});
  check_done(shop.train_custom());
}

TEST_CASE("case 23-batch-larger-than-data: the option and the remedy") {
  const Shop shop({"L/a0.png", "L/a1.png", "P/a0.png", "P/a1.png"});
  check_refused(shop, shop.train_custom({"--batch-size", "8"}), 1,
                {"--batch-size 8, but the dataset has only 2 pairs; use at most 2"});
  check_refused(shop, shop.train_custom({"--batch-size", "2", "--max-dataset-size", "1"}), 1,
                {"--batch-size 2, but the dataset has only 1 pair; use at most 1"});
  check_done(shop.train_custom({"--batch-size", "2"}));
}

TEST_CASE("case own-same-folder-twice: refused by the program, before a run is made") {
  const Shop shop({"L/a0.png"});
  check_refused(shop, shop.train({"--dataset", "custom", "--label-dir", shop.at("L"), "--image-dir", shop.at("L")}), 1,
                {"--label-dir and --image-dir are the same folder"});
}

TEST_CASE("settings that fit no picture are refused before a run is made") {
  Shop shop({"L/a.png", "P/a.png"});
  check_refused(shop, shop.train_custom({"--load-size", "20"}), 1, {"load_size is 20", "--load-size 32 or more"});
  check_refused(shop, shop.train_custom({"--crop-size", "64", "--preprocess", "crop"}), 1,
                {"a.png", "--crop-size 32 would fit"});
  check_refused(shop, shop.train_custom({"--label-nc", "1"}), 1, {"a.png", "expected labels 0 to 0", "found 1"});
  shop.add("L/a.png", 32, 41);
  shop.add("P/a.png", 32, 41);
  check_refused(shop, shop.train_custom({"--preprocess", "scale_width", "--load-size", "32"}), 1,
                {"32x41", "32x40", "would do"});
  shop.add("L/a.png", 32, 48);
  shop.add("P/a.png", 32, 48);
  shop.add("L/b.png", 32, 64);
  shop.add("P/b.png", 32, 64);
  const Result mixed = shop.train_custom({"--preprocess", "scale_width", "--load-size", "32", "--batch-size", "2"});
  CHECK(mixed.code == 1);
  check_contains(mixed.error, {"pictures of one batch need one size", "--preprocess", "--batch-size 1"});
}

TEST_CASE("flags without an effect on the layout are refused, each with the layout's name") {
  const Shop shop({"L/a.png", "P/a.png", "D/x.png"});
  for (const auto& [flag, value] :
       {std::pair{"--data", "D"}, {"--phase", "train"}, {"--split-file", "s"}, {"--direction", "AtoB"}})
    check_refused(shop, shop.train_custom({flag, value}), 2, {flag, " has no effect with --dataset custom"});
  check_refused(shop, shop.train_custom({"--instance-dir", shop.at("D")}), 2,
                {"--instance-dir has no effect without an instance channel"});
  for (const char* layout : {"facades", "cityscapes", "aligned"})
    for (const char* flag : {"--label-dir", "--image-dir", "--instance-dir", "--label-suffix", "--image-prefix"})
      check_refused(shop, shop.train({"--dataset", layout, "--data", shop.at("D"), flag, "x"}), 2,
                    {flag, std::string(" has no effect with --dataset ") + layout});
  check_refused(shop, shop.train({"--dataset", "cityscapes", "--data", shop.at("D"), "--split-file", "s"}), 2,
                {"--split-file"});
}

TEST_CASE("a config file's values without an effect are refused, unless flags chose another layout") {
  const Shop shop({"L/a.png", "P/a.png"});
  Options options = tiny_options(shop.at("D"));
  options.train.dataset_mode = "custom";
  options.train.label_dir = shop.at("L");
  options.train.image_dir = shop.at("P");
  options.train.batchSize = options.train.steps = 1;
  write_text(shop.config, options_to_json(options));
  check_refused(shop, shop.train({}), 1, {shop.config.string(), "dataroot has no effect with --dataset custom"});
  options.train.dataroot = "";
  options.train.split_file = "s";
  write_text(shop.config, options_to_json(options));
  check_refused(shop, shop.train({}), 1, {"split_file has no effect with --dataset custom"});

  options = tiny_options(shop.at("D"));  // of facades: flags make it custom, and its own folder is forgotten
  options.train.batchSize = options.train.steps = 1;
  write_text(shop.config, options_to_json(options));
  check_done(shop.train_custom());
  Options written;
  options_from_json_file(shop.made / "config.json", written);
  CHECK(written.train.dataroot.empty());
  check_done(run({"train", "--config", (shop.made / "config.json").string(), "--out", shop.at("again")}));
}

TEST_CASE("suffixes: as flags, in the run's configuration, and for --labels") {
  const Shop shop({"L/a_seg.png", "P/a.png"});
  const std::string hint = "; with --label-suffix _seg all would pair";
  check_refused(shop, shop.train_custom(), 1, {"1 label(s) without an image: a_seg.png", hint});
  check_done(shop.train_custom({"--label-suffix", "_seg"}));
  check_done(shop.generate({}));
  CHECK(fs::exists(shop.at("O/a.png")));
  check_done(shop.generate({"--labels", shop.at("L")}));  // given by hand, names stay whole
  CHECK(fs::exists(shop.at("O/a_seg.png")));
  fs::remove(shop.at("O/a.png"));
  check_done(shop.generate({"--labels", shop.at("L"), "--label-suffix", "_seg"}));
  CHECK(fs::exists(shop.at("O/a.png")));
}

TEST_CASE("generate says the same of a data set as train") {
  const Shop shop({"L/a.png", "P/a.png"});
  check_done(shop.train_custom());
  fs::remove(shop.at("L/a.png"));
  touch(shop.at("L/a.gif"));
  const std::string sentence =
      "found none in " + shop.at("L") + "; " + shop.at("L/a.gif") + ": this build reads no GIF";
  check_contains(shop.generate({}).error, {sentence});
  check_contains(shop.generate({"--labels", shop.at("L")}).error, {sentence});
  const Result trained = run({"train", "--config", (shop.made / "config.json").string(), "--out", shop.at("again")});
  check_contains(trained.error, {sentence});
  CHECK(trained.code == 1);

  touch(shop.at("F/cmp_x.png"));
  touch(shop.at("F/cmp_x.jpg"));
  write_text(shop.at("split.txt"), "../L/a\n");
  for (const Result& result :
       {shop.generate({"--dataset", "facades", "--data", shop.at("F"), "--split-file", shop.at("split.txt")}),
        run({"train", "--config", shop.config.string(), "--out", shop.at("again"), "--data", shop.at("F"),
             "--split-file", shop.at("split.txt")})})
    check_contains(result.error, {shop.at("split.txt"), "../L/a, which leads elsewhere"});
}

TEST_CASE("aligned: with a palette the input halves are classes") {
  Shop shop;
  shop.add("AB/train/1.png", 64, 32);
  std::string table;
  for (int x = 0; x < 32; ++x) table += (x ? ", " : "[") + std::string("[") + std::to_string(x * 7) + ", 0, 0]";
  write_text(shop.at("columns.json"), table + "]");
  const auto train = [&](const std::string& direction) {
    return shop.train({"--dataset", "aligned", "--data", shop.at("AB"), "--label-nc", "32", "--palette",
                       shop.at("columns.json"), "--direction", direction, "--preprocess", "crop"});
  };
  check_refused(shop, train("BtoA"), 1, {"1.png", "#"});  // the right half has other colours
  check_done(train("AtoB"));
}

TEST_CASE("aligned: trains, makes samples, generates from a phase and from given pictures of either kind") {
  Shop shop;
  for (const char* file : {"AB/train/1.png", "AB/train/2.png", "AB/test/sub/3.png"}) shop.add(file, 64, 32);
  const Names aligned = {"--dataset", "aligned", "--data", shop.at("AB")};
  const auto train = [&](const Names& more) {
    Names all = aligned;
    all.insert(all.end(), more.begin(), more.end());
    return shop.train(all);
  };
  check_refused(shop, train({}), 1, {"--no-one-hot"});
  check_refused(shop, train({"--no-one-hot", "--direction", "AtoC"}), 1, {"direction is 'AtoC'", "AtoB or BtoA"});
  check_done(train({"--no-one-hot", "--direction", "BtoA", "--load-size", "32"}));
  // The sample: input, generated, real. The photo's columns were 0 to 31 of the whole, the input's 32 to 63.
  const Image sample = read_photo(shop.made / "samples/step_000001.png");
  CHECK(sample.at(0, 0, 0) == 32 * 7);
  CHECK(sample.at(sample.width - 32, 0, 0) == 0);
  check_done(shop.generate({}));
  const std::string from_phase = read_text(shop.at("O/sub/3.png"));
  CHECK_FALSE(from_phase.empty());

  check_done(shop.generate({"--labels", shop.at("AB/test"), "--direction", "BtoA"}));
  CHECK(read_text(shop.at("O/sub/3.png")) == from_phase);
  check_done(shop.generate({"--labels", shop.at("AB/test/sub/3.png"), "--direction", "BtoA"}));
  CHECK(read_text(shop.at("O/3.png")) == from_phase);
  check_done(shop.generate({"--labels", shop.at("AB/test/sub/3.png"), "--direction", "AtoB"}));
  CHECK(read_text(shop.at("O/3.png")) != from_phase);
  write_png(shop.folder / "half.png", crop(read_photo(shop.at("AB/test/sub/3.png")), 32, 0, 32, 32));
  check_done(shop.generate({"--labels", shop.at("half.png")}));
  CHECK(read_text(shop.at("O/half.png")) == from_phase);

  shop.add("AB/test/odd.png", 63, 32);
  check_contains(shop.generate({}).error, {"odd.png", "odd width: 63x32"});
}
