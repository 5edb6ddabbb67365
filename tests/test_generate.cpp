// asapnet generate and encode on what users give them: outputs that would overwrite inputs, files that cannot be used among
// others that can, pictures of any size, and options that contradict the model or do nothing.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/support/program.h"
#include "train/data/native_size.h"
#include "train/files/output_guard.h"
#include "train/pictures/image_files.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

// A run and a folder of label maps a0.png, a1.png, a2.png to use it on.
struct Studio : Workshop {
  fs::path maps = folder / "L", out = folder / "o";

  Studio() {
    fs::create_directories(maps);
    for (int i = 0; i < 3; ++i) fs::copy(label("cmp_b000" + std::to_string(i + 1)), map(i));
  }
  fs::path map(int i) const { return maps / ("a" + std::to_string(i) + ".png"); }
  std::string bytes() const { return read_text(map(0)) + read_text(map(1)) + read_text(map(2)); }
  std::vector<std::string> generate(const std::vector<std::string>& more) const {
    std::vector<std::string> all{"generate", "--weights", text(trained)};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
};

// A label map of any size, of classes in stripes.
void write_map(const fs::path& path, int width, int height) {
  train::LabelMap labels(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) labels.at(x, y) = (x / 5 + y / 3) % 13;
  }
  train::write_label_png(path, labels, std::vector<uint8_t>(39, 0));
}

std::string size_of(const fs::path& picture) {
  const train::Image image = train::read_photo(picture);
  return train::size_text(image.width, image.height);
}

}  // namespace

TEST_CASE("case 25-generate-onto-labels: an output that is an input is refused before anything is written") {
  const Studio studio;
  const std::string before = studio.bytes(), maps = text(studio.maps), map = text(studio.map(0));
  check_refused(studio.generate({"--labels", maps, "--out", maps}), 1,
                {text(studio.map(0)) + " is the label map itself; choose another --out"});
  check_refused(studio.generate({"--labels", map, "--out", text(studio.maps / ".." / "L" / ".")}), 1,
                {"is the label map itself"});
  check_refused(studio.generate({"--labels", map, "--out", map}), 1, {"is the label map itself"});

  fs::create_directory_symlink(studio.maps, studio.folder / "link");
  check_refused(studio.generate({"--labels", maps, "--out", text(studio.folder / "link")}), 1,
                {"link/a0.png (" + map + ") is the label map itself"});
  fs::create_directories(studio.out);
  fs::create_hard_link(studio.map(1), studio.out / "a1.png");
  check_refused(studio.generate({"--labels", maps, "--out", text(studio.out)}), 1,
                {"a1.png", "is the label map itself"});
  CHECK(std::distance(fs::directory_iterator(studio.out), {}) == 1);  // not even the first picture was made

  // The data set that the model was trained with, whichever label maps are used.
  const std::string label = read_text(studio.label());
  fs::copy(studio.map(2), studio.maps / "cmp_b0001.png");
  check_refused(studio.generate({"--labels", text(studio.maps / "cmp_b0001.png"), "--out", text(studio.data / "base")}),
                1, {"cmp_b0001.png is a picture of the model's data set"});
  check_refused(studio.generate({"--out", text(studio.data / "base")}), 1, {"cmp_b0001.png is the label map itself"});
  CHECK(read_text(studio.label()) == label);
  CHECK(studio.bytes() == before);
  ran();
}

TEST_CASE("generate: instance maps and photos are safe too; earlier results are written over") {
  const Studio studio;
  const fs::path photos = studio.folder / "P", with_edges = studio.folder / "edges";
  fs::create_directories(photos);
  for (int i = 0; i < 3; ++i) fs::copy(studio.map(i), photos);  // PNGs of the same names
  const fs::path all_instances = studio.folder / "all";
  fs::copy(studio.maps, all_instances);
  const Result trained = run({"train", "--config", text(studio.config), "--dataset", "custom", "--label-dir",
                              text(studio.maps), "--image-dir", text(photos), "--instance-dir", text(all_instances),
                              "--no-instance-edge=false", "--steps", "1", "--out", text(with_edges)});
  CAPTURE(trained.error);
  REQUIRE(trained.code == 0);
  const fs::path instances = studio.folder / "I";
  fs::create_directories(instances);
  fs::copy(studio.map(0), instances);
  const std::vector<std::string> base{"generate",          "--weights",   text(with_edges), "--labels",
                                      text(studio.map(0)), "--instances", text(instances),  "--out"};
  const auto into = [&](const fs::path& out) {
    std::vector<std::string> all = base;
    all.push_back(text(out));
    return all;
  };
  check_refused(into(instances), 1, {"I/a0.png is the instance map itself"});
  check_refused(into(photos), 1, {"P/a0.png is a picture of the model's data set"});
  CHECK(run(into(studio.out)).code == 0);
  const std::string first = read_text(studio.out / "a0.png");
  write_text(studio.out / "a0.png", "an earlier result");
  CHECK(run(into(studio.out)).code == 0);
  CHECK(read_text(studio.out / "a0.png") == first);
  // Without the instance map of one of two label maps nothing begins.
  check_refused({"generate", "--weights", text(with_edges), "--labels", text(studio.map(0)), text(studio.map(1)),
                 "--instances", text(instances), "--out", text(studio.folder / "new")},
                1, {"--instances: there is no ", "I/a1.png"});
  CHECK_FALSE(fs::exists(studio.folder / "new"));
}

TEST_CASE("output names stay below --out") {
  CHECK(train::output_path("o", "town/a0", ".png") == fs::path("o/town/a0.png"));
  for (const char* name : {"../a0", "/etc/a0", "a/../../a0", "..", ""}) {
    CAPTURE(name);
    const bool outside = contains(error_of([&] { train::output_path("o", name, ".png"); }), "leads outside --out o");
    CHECK(outside == (std::string(name) != ".."));  // "...png" is a name like any other
  }
}

TEST_CASE("case 25-one-bad-of-many: the others are made, the bad ones listed, exit code 1") {
  const Studio studio;
  write_text(studio.map(1), "garbage");
  const Result result = run(studio.generate({"--labels", text(studio.maps), "--raw", "--out", text(studio.out)}));
  CHECK(result.code == 1);
  CHECK(result.error == "asapnet: 1 of 3 label maps could not be used:\n  " + text(studio.map(1)) +
                            ": expected a label map as PNG, found text\n");
  for (const char* made : {"a0.png", "a0.npy", "a2.png", "a2.npy"}) CHECK(fs::exists(studio.out / made));
  CHECK_FALSE(fs::exists(studio.out / "a1.png"));
  CHECK(contains(result.out, "2 pictures in"));

  write_map(studio.map(2), 32, 32);
  train::LabelMap outside(32, 32, 77);
  train::write_label_png(studio.map(0), outside, std::vector<uint8_t>(3 * 78, 0));
  const Result more = run(studio.generate({"--labels", text(studio.maps), "--out", text(studio.out)}));
  CHECK(more.code == 1);
  CHECK(contains(more.error, "2 of 3 label maps could not be used:"));
  CHECK(contains(more.error, "found 77"));
  CHECK(contains(more.out, "1 picture in"));
  // A single one is one sentence.
  check_refused(studio.generate({"--labels", text(studio.map(1)), "--out", text(studio.out)}), 1,
                {"asapnet: " + text(studio.map(1)) + ": expected a label map as PNG, found text\n"});
}

TEST_CASE("generate: label maps that are not there are all named before anything is made") {
  const Studio studio;
  check_refused(
      studio.generate({"--labels", text(studio.map(0)), "/none/x.png", "/none/y.png", "--out", text(studio.out)}), 1,
      {"--labels: there is no /none/x.png and /none/y.png"});
  CHECK_FALSE(fs::exists(studio.out));
}

TEST_CASE("generate: a disk that takes no more ends the work and says what is left") {
  const Studio studio;
  rlimit limit{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const rlimit full{64, limit.rlim_max};  // bytes: less than any picture
  signal(SIGXFSZ, SIG_IGN);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &full) == 0);
  const Result result = run(studio.generate({"--labels", text(studio.maps), "--out", text(studio.out)}));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(result.code == 1);
  CHECK(contains(result.error, "a0.png"));
  CHECK(contains(result.error, "2 of 3 label maps are left undone"));
  CHECK(fs::is_empty(studio.out));
}

TEST_CASE("generate --size native: pictures as large as their label maps") {
  const Studio studio;
  // The tiny model's tiles have 2 pixels; its reflection needs 2 of them.
  write_map(studio.map(0), 31, 23);
  write_map(studio.map(1), 1, 7);
  write_map(studio.map(2), 48, 34);
  const Result result =
      run(studio.generate({"--labels", text(studio.maps), "--size", "native", "--raw", "--out", text(studio.out)}));
  CAPTURE(result.error);
  REQUIRE(result.code == 0);
  CHECK(size_of(studio.out / "a0.png") == "31x23");
  CHECK(size_of(studio.out / "a1.png") == "1x7");
  CHECK(size_of(studio.out / "a2.png") == "48x34");
  CHECK(contains(read_text(studio.out / "a0.npy"), "'shape': (3, 23, 31, )"));
  CHECK(contains(result.out, "a0.png  31x23"));

  // Whole tiles: bit for bit what --size gives.
  const fs::path sized = studio.folder / "sized";
  REQUIRE(
      run(studio.generate({"--labels", text(studio.map(2)), "--size", "48x34", "--raw", "--out", text(sized)})).code ==
      0);
  for (const char* file : {"a2.png", "a2.npy"}) CHECK(read_text(studio.out / file) == read_text(sized / file));

  // Otherwise: what the mirrored map gives, cut.
  train::Sample sample;
  sample.label = train::read_label_png(studio.map(0));
  train::extend_to_tiles(tiny_model(), "a0", sample);
  REQUIRE(train::size_text(sample.width(), sample.height()) == "32x24");
  train::write_label_png(studio.folder / "mirrored.png", sample.label, std::vector<uint8_t>(39, 0));
  REQUIRE(
      run(studio.generate({"--labels", text(studio.folder / "mirrored.png"), "--size", "32x24", "--out", text(sized)}))
          .code == 0);
  const train::Image whole = train::read_photo(sized / "mirrored.png");
  CHECK(train::read_photo(studio.out / "a0.png") == train::crop(whole, 0, 0, 31, 23));
}

TEST_CASE("generate --size native: RGB input and instance maps") {
  const Studio studio;
  const fs::path photos = studio.folder / "photos", rgb = studio.folder / "rgb", edges = studio.folder / "edges";
  fs::create_directories(photos);
  for (int i = 0; i < 3; ++i)
    fs::copy(studio.data / "base" / ("cmp_b000" + std::to_string(i + 1) + ".jpg"),
             photos / ("a" + std::to_string(i) + ".jpg"));
  const auto train_with = [&](const fs::path& to, const std::vector<std::string>& more) {
    std::vector<std::string> all{"train",       "--config",   text(studio.config), "--dataset", "custom",
                                 "--image-dir", text(photos), "--steps",           "1",         "--out",
                                 text(to)};
    all.insert(all.end(), more.begin(), more.end());
    const Result result = run(all);
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
  };
  fs::copy(photos, studio.folder / "sketches");
  train_with(rgb, {"--label-dir", text(studio.folder / "sketches"), "--no-one-hot"});
  fs::copy(studio.maps, studio.folder / "instances");
  train_with(edges, {"--label-dir", text(studio.maps), "--instance-dir", text(studio.folder / "instances"),
                     "--no-instance-edge=false"});

  train::Image picture(31, 22, 3, 90);
  for (int x = 0; x < 31; ++x) picture.at(x, x % 22, 1) = 200;
  train::write_png(studio.folder / "sketch.png", picture);
  const auto size_with = [&](const fs::path& weights, const std::vector<std::string>& more) {
    std::vector<std::string> all{"generate", "--weights", text(weights), "--size", "native", "--out", text(studio.out)};
    all.insert(all.end(), more.begin(), more.end());
    const Result result = run(all);
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
  };
  size_with(rgb, {"--labels", text(studio.folder / "sketch.png")});
  CHECK(size_of(studio.out / "sketch.png") == "31x22");
  write_map(studio.folder / "odd.png", 27, 19);
  size_with(edges, {"--labels", text(studio.folder / "odd.png"), "--instances", text(studio.folder / "odd.png")});
  CHECK(size_of(studio.out / "odd.png") == "27x19");
}

TEST_CASE("native size: the map is mirrored at the right and at the bottom, however small it is") {
  train::Sample sample;
  sample.label = train::LabelMap(3, 1);
  sample.label.values = {1, 2, 3};
  sample.instance = sample.label;
  asapnet::Config config = tiny_model();
  config.crop_size = 128;  // tiles of 8; with reflection 16x16 is the least
  train::extend_to_tiles(config, "map", sample);
  REQUIRE(train::size_text(sample.width(), sample.height()) == "16x16");
  const std::vector<int32_t> row{1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2};
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      CHECK(sample.label.at(x, y) == row[static_cast<size_t>(x)]);
      CHECK(sample.instance.at(x, y) == row[static_cast<size_t>(x)]);
    }
  }
  config.reflection_pad = false;  // zeros: one row of tiles is enough, one tile alone is not
  sample.label = train::LabelMap(8, 8, 1);
  sample.instance = {};
  train::extend_to_tiles(config, "map", sample);
  CHECK(train::size_text(sample.width(), sample.height()) == "16x8");
  sample.label = train::LabelMap(100'000, 1, 1);
  config.crop_size = 1 << 16;
  CHECK(contains(error_of([&] { train::extend_to_tiles(config, "map", sample); }),
                 "map, extended to tiles of 4096 pixels"));
}

TEST_CASE("generate: pictures of mixed sizes take the memory of the largest") {
  const Studio studio;
  const auto peak_of = [&](const std::vector<std::pair<int, int>>& sizes) {
    fs::remove_all(studio.maps);
    fs::create_directories(studio.maps);
    int i = 10;
    for (const auto& [width, height] : sizes) write_map(studio.map(i++), width, height);
    release_cached_memory(Device::cpu);
    reset_peak_memory(Device::cpu);
    const Result result =
        run(studio.generate({"--labels", text(studio.maps), "--size", "native", "--out", text(studio.out)}));
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
    const MemoryUse use = memory_use(Device::cpu);
    return std::pair{use.peak, use.cached};
  };
  const auto [alone, kept_alone] = peak_of({{320, 320}});
  std::vector<std::pair<int, int>> mixed;
  for (int i = 0; i < 24; ++i) mixed.emplace_back(320 - 8 * (i % 12), 320 - 10 * (i % 7));
  const auto [many, kept_many] = peak_of(mixed);
  // In use and kept by the allocator; what varies is which blocks are free at the end.
  CHECK(many <= alone + alone / 8);
  CHECK(kept_many <= kept_alone + kept_alone / 8);
}

TEST_CASE("case own-out-is-a-file-name: --out NAME.png is the picture; sizes below the least are refused in pixels") {
  const Studio studio;
  const fs::path file = studio.folder / "pictures" / "one.png";
  const Result one = run(studio.generate({"--labels", text(studio.map(0)), "--raw", "--out", text(file)}));
  CAPTURE(one.error);
  REQUIRE(one.code == 0);
  CHECK(fs::is_regular_file(file));
  CHECK(fs::is_regular_file(studio.folder / "pictures" / "one.npy"));
  check_refused(studio.generate({"--labels", text(studio.maps), "--out", text(studio.folder / "many.png")}), 1,
                {"many.png: expected a folder, since there are 3 label maps"});
  CHECK_FALSE(fs::exists(studio.folder / "many.png"));
  check_refused(studio.generate({"--labels", text(studio.map(0)), "--out", text(studio.folder / "one.jpg")}), 1,
                {"pictures are written as PNG"});
  fs::create_directories(studio.folder / "folder.png");
  CHECK(run(studio.generate({"--labels", text(studio.maps), "--out", text(studio.folder / "folder.png")})).code == 0);

  check_refused(studio.generate({"--labels", text(studio.maps), "--size", "2", "--out", text(studio.out)}), 1,
                {"--size: 2x2 is too small for this model", "at least 4x4"});
  check_refused(studio.generate({"--labels", text(studio.maps), "--size", "100000x100000", "--out", text(studio.out)}),
                1, {"is too large; a picture has at most"});
  CHECK_FALSE(fs::exists(studio.out));
  const Result wide =
      run(studio.generate({"--labels", text(studio.map(0)), "--size", "8192x4", "--out", text(studio.out)}));
  CAPTURE(wide.error);
  CHECK(wide.code == 0);
}

TEST_CASE("case own-generate-crop-size: what a model is cannot change, in the user's terms") {
  const Studio studio;
  const std::string out = text(studio.out), maps = text(studio.maps);
  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    std::vector<std::string> all = studio.generate({"--labels", maps, "--out", out});
    all.insert(all.end(), more.begin(), more.end());
    check_refused(all, 1, parts);
    all[2] = text(studio.generator());  // our own file knows its configuration too
    check_refused(all, 1, parts);
  };
  refused({"--crop-size", "256"}, {"--crop-size 256: ", "was trained with crop_size 32",
                                   "a run's crop_size cannot change", "use --size 256\n"});
  refused({"--aspect-ratio", "2"}, {"--aspect-ratio 2: ", "use --size 32x16\n"});
  refused({"--hr-width", "16"}, {"--hr-width 16: ", "was trained with hr_width 8"});
  refused({"--preset", "facades512"}, {"--preset facades512 (crop_size 512): "});
  refused({"--contain-dontcare-label"}, {"--contain-dontcare-label true: "});
  CHECK(run(studio.generate({"--labels", maps, "--crop-size", "32", "--config", text(studio.config), "--out", out}))
            .code == 0);
}

TEST_CASE("generate and encode: options that do nothing are refused") {
  const Studio studio;
  const auto refused = [&](const std::vector<std::string>& more, const std::string& part) {
    std::vector<std::string> all = studio.generate(more);
    all.insert(all.end(), {"--out", text(studio.out)});
    const Result result = run(all);
    CAPTURE(result.error);
    CHECK(result.code != 0);
    CHECK(contains(result.error, part));
  };
  const std::string maps = text(studio.maps), data = text(studio.data);
  refused({"--labels", maps, "--instances", maps}, "takes no instance channel; leave it out");
  refused({"--labels", maps, "--data", data}, "--data has no effect with --labels");
  refused({"--labels", maps, "--dataset", "custom"}, "--dataset has no effect with --labels");
  refused({"--instances", maps}, "--instances has no effect without --labels");
  refused({"--image-dir", maps}, "--image-dir has no effect on generate");
  refused({"--label-dir", maps}, "--label-dir has no effect with --dataset facades");
  refused({"--labels", maps, "--seed", "1"}, "--seed has no effect on a model without codes");
  refused({"--labels", maps, "--z-dim", "4"}, "--z-dim has no effect");
  refused({"--labels", maps, "--load-size", "40"}, "--load-size has no effect without --preprocess");
  refused({"--labels", maps, "--size", "32", "--preprocess", "fixed"}, "exclude each other");
  CHECK_FALSE(fs::exists(studio.out));
}

TEST_CASE("encode: equal stems and inputs are not written over; one bad picture of many is listed") {
  const Studio studio;
  const fs::path vae = studio.folder / "vae", codes = studio.folder / "codes", photos = studio.folder / "photos";
  REQUIRE(run({"train", "--config", text(studio.config), "--use-vae", "--out", text(vae), "--steps", "1"}).code == 0);
  for (const char* sub : {"a", "b"}) {
    fs::create_directories(photos / sub);
    fs::copy(studio.data / "base" / "cmp_b0001.jpg", photos / sub / "x.jpg");
  }
  const auto encode = [&](const std::vector<fs::path>& images, const fs::path& out) {
    std::vector<std::string> all{"encode", "--weights", text(vae), "--out", text(out), "--images"};
    for (const fs::path& image : images) all.push_back(text(image));
    return all;
  };
  check_refused(encode({photos / "a" / "x.jpg", photos / "b" / "x.jpg"}, codes), 1,
                {"a/x.jpg and ", "b/x.jpg are both called x; what is made of them would overwrite each other"});
  check_refused(encode({photos / "a" / "x.jpg", "/none.jpg"}, codes), 1, {"--images: there is no /none.jpg"});
  CHECK_FALSE(fs::exists(codes));
  fs::copy(photos / "a" / "x.jpg", codes.parent_path() / "photos" / "x_mu.npy");  // a picture of an odd name
  fs::copy(photos / "a" / "x.jpg", photos / "x.jpg");
  check_refused(encode({photos / "x.jpg", photos / "x_mu.npy"}, photos), 1, {"x_mu.npy is the picture itself"});
  write_text(photos / "a" / "bad.jpg", "no picture");
  const Result result = run(encode({photos / "a"}, codes));
  CHECK(result.code == 1);
  CHECK(contains(result.error, "1 of 2 pictures could not be used:\n  " + text(photos / "a" / "bad.jpg")));
  CHECK(fs::exists(codes / "x_mu.npy"));
  check_refused({"encode", "--weights", text(vae), "--images", text(photos / "a"), "--out", text(codes), "--seed", "3"},
                2, {"no option --seed"});
}
