// Label maps in every form that keeps their numbers, maps in colours (train/data/label_colours.h, asapnet labels, --palette), and more
// than 256 classes. The files are tests/golden/make_pillow.py's.
#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>

#include "tests/support/golden.h"
#include "tests/support/run_program.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"
#include "train/data/batch.h"
#include "train/data/label_colours.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/pictures/image_files.h"
#include "train/pictures/picture_grid.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

const fs::path kPictures = fs::path(ASAP_GOLDEN_DIR) / "pictures";

LabelMap index_map() { return read_label_png(kPictures / "label_index.png"); }

// The colours of label_index.png, colours.png and colours.jpg.
std::vector<uint8_t> colours_of_index_map() {
  const std::vector<uint8_t> file = read_file(kPictures / "label_index.png");
  return picture_palette(file, "label_index.png");
}

std::string table_json() {
  const std::vector<uint8_t> palette = colours_of_index_map();
  std::string json;
  for (size_t i = 0; i < 24; i += 3)
    json += str(i ? ", " : "[", "[", int(palette[i]), ", ", int(palette[i + 1]), ", ", int(palette[i + 2]), "]");
  return json + "]";
}

LabelColours table(const std::string& json) { return {json, "table.json"}; }

// Label maps in colours and photos, 32x32, two of each.
struct ColouredData {
  ScratchFolder folder;
  fs::path labels = folder / "coloured", photos = folder / "photos", json = folder / "colours.json";

  ColouredData() {
    fs::create_directories(labels);
    fs::create_directories(photos);
    write_text(json, table_json());
    const std::vector<uint8_t> palette = colours_of_index_map();
    for (int i = 0; i < 2; ++i) {
      Image map(32, 32, 3), photo(32, 32, 3);
      for (int y = 0; y < 32; ++y)
        for (int x = 0; x < 32; ++x)
          for (int c = 0; c < 3; ++c) {
            map.at(x, y, c) = palette[size_t(3 * ((x / 8 + y / 8 + i) % 8) + c)];
            photo.at(x, y, c) = uint8_t(x * 7 + y * c + 50 * i);
          }
      write_png(labels / str("a", i, ".png"), map);
      write_png(photos / str("a", i, ".png"), photo);
    }
  }
  LabelMap expected(int i) const {
    LabelMap map(32, 32);
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x) map.at(x, y) = (x / 8 + y / 8 + i) % 8;
    return map;
  }
  std::vector<std::string> training(const std::string& label_nc) const {
    Options options = tiny_options("");
    options.train.batchSize = 1;
    options.train.load_size = 32;
    write_text(folder / "tiny.json", options_to_json(options));
    return {"train",
            "--config",
            (folder / "tiny.json").string(),
            "--dataset",
            "custom",
            "--label-dir",
            labels.string(),
            "--image-dir",
            photos.string(),
            "--label-nc",
            label_nc,
            "--steps",
            "1",
            "--sample-every",
            "1"};
  }
};

std::vector<std::string> with(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

TEST_CASE("case 03-unambiguous-labels: every form that says one number a pixel is read") {
  const LabelMap expected = index_map();
  CHECK(*std::max_element(expected.values.begin(), expected.values.end()) == 7);
  int forms = 0;
  for (const auto& entry : fs::directory_iterator(kPictures)) {
    if (!entry.path().stem().string().starts_with("label_") || picture_kind(entry.path()) != PictureKind::readable)
      continue;
    CAPTURE(entry.path().string());
    CHECK(read_label_png(entry.path()) == expected);
    CHECK(read_instance_png(entry.path()) == expected);
    ++forms;
  }
  CHECK(forms >= 8);
  CHECK(read_label_png(kPictures / "wide.png").at(4, 0) == 1007);

  // A BMP may store its rows from top to bottom, which its height below 0 says.
  for (const char* name : {"label_index.bmp", "label_rgb.bmp"}) {
    std::vector<uint8_t> bmp = read_file(kPictures / name);
    for (int i = 0; i < 4; ++i) bmp[size_t(22 + i)] = uint8_t(-17 >> 8 * i);
    const LabelMap map = decode_label_map(bmp, name);
    for (int y = 0; y < 17; ++y)
      for (int x = 0; x < 23; ++x) REQUIRE(map.at(x, y) == expected.at(x, 16 - y));
  }
  ran();
}

TEST_CASE("case 03-unambiguous-labels: channels that differ are refused with the first such pixel and the ways out") {
  const std::string text = error_of([] { read_label_png(kPictures / "colours.png"); });
  for (const char* part : {"colours.png: expected a label map", "#00ff00, at column 0, row 0", "--palette FILE",
                           "asapnet labels --from-colours FILE", "--no-one-hot"})
    CHECK_MESSAGE(contains(text, part), text);
  CHECK(contains(
      error_of([] { read_label_png(kPictures / "colours.jpg"); }),
      "found a JPEG, whose compression changes the values; a label map in colours can be saved with asapnet labels"));
  if (picture_kind("a.tif") == PictureKind::readable)
    CHECK(
        contains(error_of([] { read_label_png(kPictures / "tiff_jpeg.tif"); }), "changes the values; save it as PNG"));
  CHECK(contains(error_of([] { read_label_png(kPictures / "foreign.gif"); }), "found a GIF"));
  ran();
}

TEST_CASE("colour tables: JSON in three forms, a palette, a picture; what is wrong is named") {
  const LabelColours by_class = table("[[0, 0, 170], \"#ff5500\", [1, 2, 3]]");
  CHECK(by_class.classes() == 3);
  CHECK(by_class.to_json() == R"({"#0000aa":0,"#ff5500":1,"#010203":2})");
  CHECK(table(by_class.to_json()).to_json() == by_class.to_json());
  CHECK(table(R"({"wall": [0, 0, 170], "door": "#ff5500", "sky": [1, 2, 3]})").to_json() == by_class.to_json());
  const LabelColours merged = table(R"({"#0000aa": 4, "#ff5500": 4, "#010203": 1})");
  CHECK(merged.classes() == 5);
  CHECK(merged.palette() == std::vector<uint8_t>{0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 170});
  CHECK(LabelColours::read(kPictures / "label_index.png").to_json() == table(table_json()).to_json());

  ScratchFolder folder;
  Image legend(6, 2, 3);
  for (int x = 0; x < 6; ++x)
    for (int y = 0; y < 2; ++y) legend.at(x, y, 0) = uint8_t(200 - x / 2);
  write_png(folder / "legend.png", legend);
  CHECK(LabelColours::read(folder / "legend.png").to_json() == R"({"#c80000":0,"#c70000":1,"#c60000":2})");

  const auto error = [](const std::string& json) { return error_of([&] { table(json); }); };
  CHECK(contains(error("[[1,2]]"), "table.json, entry 0: expected a colour, [r, g, b]"));
  CHECK(contains(error("[[1,2,256]]"), "found [1,2,256]"));
  CHECK(contains(error("[[1,2,3],[1,2,3]]"), "found #010203 for the classes 0 and 1"));
  CHECK(contains(error(R"({"#010203": 65536})"), "expected a class, 0 to 65535, found 65536"));
  CHECK(contains(error(R"({"#010203": -1})"), "found -1"));
  CHECK(contains(error("{}"), "expected a colour table"));
  CHECK(contains(error("hello"), "found no JSON"));
  CHECK(error(std::string(100000, '[') + std::string(100000, ']')) != "");
  CHECK(contains(error_of([] { LabelColours::read(kPictures / "colours.jpg"); }),
                 "found a JPEG (its compression changes"));
  CHECK(contains(error_of([&] { LabelColours::read(folder / "none.json"); }), "No such file"));
  ran();
}

TEST_CASE(
    "asapnet labels: colours become the classes of the table, unknown ones are counted, inputs stay as they are") {
  ColouredData data;
  const fs::path out = data.folder / "maps";
  const std::vector<std::string> command{"labels", "--from-colours", data.json.string(), "--labels",
                                         data.labels.string()};
  const Result done = run(with(command, {"--out", out.string()}));
  CAPTURE(done.error);
  CHECK(done.code == 0);
  CHECK(contains(done.out, "2 of 2 label maps of 8 classes"));
  for (int i = 0; i < 2; ++i) CHECK(read_label_png(out / str("a", i, ".png")) == data.expected(i));
  CHECK(read_photo(out / "a0.png") == read_photo(data.labels / "a0.png"));  // the palette has the table's colours

  const Result onto = run(with(command, {"--out", data.labels.string()}));
  CHECK(onto.code == 1);
  CHECK(contains(onto.error, "a0.png would be written over a label map that is to be read; give another --out"));

  // One map with two foreign colours: the other is done, the colours are counted.
  Image odd = read_photo(data.labels / "a1.png");
  for (int x = 0; x < 5; ++x) odd.at(x, 0, 0) = 0x12, odd.at(x, 0, 1) = 0xab, odd.at(x, 0, 2) = 0x34;
  odd.at(9, 9, 2) ^= 1;
  write_png(data.labels / "a1.png", odd);
  fs::remove_all(out);
  const Result part = run(with(command, {"--out", out.string()}));
  CHECK(part.code == 1);
  CHECK(contains(part.error, "a1.png: not written; 6 of 1024 pixels (0.59 %) have colours that are not in the table"));
  CHECK(contains(part.error, "colours.json: 2 colours are not in the table: #12ab34 (5 pixels), #"));
  CHECK(contains(part.error, "(1 pixel), 6 of 2048 pixels; add them to the table"));
  CHECK(fs::exists(out / "a0.png"));
  CHECK_FALSE(fs::exists(out / "a1.png"));

  const Result nearest = run(with(command, {"--out", out.string(), "--nearest"}));
  CHECK(nearest.code == 0);
  CHECK(contains(nearest.out, "a1.png: 6 of 1024 pixels (0.59 %) took the nearest colour"));
  CHECK(read_label_png(out / "a1.png").at(9, 9) == data.expected(1).at(9, 9));

  // A JPEG of a map, with its edges blurred, is nearly right.
  const Result jpeg = run({"labels", "--from-colors", data.json.string(), "--labels",
                           (kPictures / "colours.jpg").string(), "--out", out.string(), "--nearest"});
  CHECK(jpeg.code == 0);
  const LabelMap map = read_label_png(out / "colours.png"), exact = index_map();
  int same = 0;
  for (size_t i = 0; i < map.values.size(); ++i) same += map.values[i] == exact.values[i];
  CHECK(same > int(map.values.size()) * 7 / 10);
  ran();
}

TEST_CASE("asapnet labels without a table prints the colours there are, as a table to edit") {
  ColouredData data;
  const Result printed = run({"labels", "--labels", data.labels.string()});
  CHECK(printed.code == 0);
  CHECK(table(printed.out).classes() == 8);
  write_text(data.json, printed.out);
  const fs::path out = data.folder / "maps";
  const Result done =
      run({"labels", "--from-colours", data.json.string(), "--labels", data.labels.string(), "--out", out.string()});
  CHECK(done.code == 0);
  CHECK(read_photo(out / "a1.png") == read_photo(data.labels / "a1.png"));
  ColourCount count;
  count_colours(Image(2, 1, 3, 7), count);
  count_colours(Image(3, 1, 3, 9), count);
  CHECK(proposed_table(count) == "{\n  \"#090909\": 0,\n  \"#070707\": 1\n}");
  CHECK(contains(run({"labels", "--labels", (kPictures / "colours.jpg").string()}).error,
                 "more than 256 colours so far"));
  CHECK(run({"labels", "--labels", data.labels.string(), "--out", out.string()}).code == 2);
  CHECK(run({"labels", "--labels", data.labels.string(), "--from-colours", data.json.string()}).code == 2);
  ran();
}

TEST_CASE("--palette: training and generating from label maps in colours; the run keeps the table") {
  ColouredData data;
  const fs::path trained = data.folder / "run";
  const Result done = run(with(data.training("8"), {"--palette", data.json.string(), "--out", trained.string()}));
  CAPTURE(done.error);
  REQUIRE(done.code == 0);
  CHECK(contains(read_text(trained / "config.json"), "#00ff00"));
  const Sample sample = load_sample(
      {"a1", data.labels / "a1.png", {}, {}},
      {.mode = Preprocess::none, .label_nc = 8, .colours = std::make_shared<LabelColours>(table_json(), "table")}, {});
  CHECK(sample.label == data.expected(1));

  fs::remove(data.json);
  const auto generate = [&](const fs::path& labels, const std::string& out) {
    return run({"generate", "--weights", trained.string(), "--labels", labels.string(), "--out",
                (data.folder / out).string()});
  };
  CHECK(generate(data.labels / "a0.png", "made").code == 0);
  CHECK(fs::exists(data.folder / "made" / "a0.png"));
  const Result unknown = generate(data.photos / "a0.png", "none");
  CHECK(unknown.code == 1);
  CHECK(contains(unknown.error, "colours are not in the table: #"));

  write_text(data.json, table_json());
  // With traces of JPEG: off by a little everywhere, but nearest to what it was.
  const fs::path jpeg = data.folder / "jpeg.jpg";
  write_jpeg(jpeg, read_photo(data.labels / "a1.png"), 95);
  PreprocessOptions options{.mode = Preprocess::none,
                            .label_nc = 8,
                            .colours = std::make_shared<LabelColours>(table_json(), "table")};
  CHECK_THROWS_WITH(load_sample({"j", jpeg, {}, {}}, options, {}), doctest::Contains("--nearest-colour"));
  options.nearest_colour = true;
  const LabelMap near = load_sample({"j", jpeg, {}, {}}, options, {}).label, wanted = data.expected(1);
  int64_t different = 0;
  for (size_t i = 0; i < wanted.values.size(); ++i) different += near.values[i] != wanted.values[i];
  CHECK(different * 20 < static_cast<int64_t>(wanted.values.size()));  // blends at the edges of the squares alone
  const Result few =
      run(with(data.training("7"), {"--palette", data.json.string(), "--out", (data.folder / "few").string()}));
  CHECK(few.code == 1);
  CHECK(contains(few.error, "the palette has the classes 0 to 7, but label_nc is 7; 8 would do"));
  CHECK_FALSE(fs::exists(data.folder / "few"));
  const Result pictures = run(with(
      data.training("8"), {"--palette", data.json.string(), "--no-one-hot", "--out", (data.folder / "few").string()}));
  CHECK(contains(pictures.error, "with no_one_hot the input is a picture"));
  ran();
}

TEST_CASE("more than 256 classes: written and read as 16 bits, trained, shown, generated") {
  ColouredData data;
  const std::vector<uint8_t> palette(3 * 700, 0);
  for (int i = 0; i < 2; ++i) {
    LabelMap map = data.expected(i);
    for (int32_t& v : map.values) v = 99 * v;
    write_label_png(data.labels / str("a", i, ".png"), map, palette);
    CHECK(read_label_png(data.labels / str("a", i, ".png")) == map);
  }
  const fs::path trained = data.folder / "run";
  const Result done = run(with(data.training("694"), {"--out", trained.string()}));
  CAPTURE(done.error);
  REQUIRE(done.code == 0);
  CHECK(run({"generate", "--weights", trained.string(), "--labels", data.labels.string(), "--out",
             (data.folder / "made").string()})
            .code == 0);
  const Result above = run(with(data.training("693"), {"--out", (data.folder / "above").string()}));
  CHECK(above.code == 1);
  CHECK(contains(above.error, "expected labels 0 to 692 (label_nc = 693), found 693"));

  const Result both =
      run(with(data.training("256"), {"--contain-dontcare-label", "--out", (data.folder / "both").string()}));
  CHECK(both.code == 1);
  CHECK(contains(both.error, "label_nc is 256; with contain_dontcare_label it must be at most 255"));
  CHECK(run(with(data.training("65537"), {"--out", (data.folder / "both").string()})).code == 1);
  CHECK_FALSE(fs::exists(data.folder / "both"));

  const std::vector<uint8_t> colours = label_palette(65536);
  std::vector<uint32_t> seen;
  for (size_t i = 0; i < colours.size(); i += 3)
    seen.push_back(uint32_t(colours[i] << 16 | colours[i + 1] << 8 | colours[i + 2]));
  std::sort(seen.begin(), seen.end());
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  ran();
}
