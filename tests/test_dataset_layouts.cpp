// What makes a data set and what is said when something does not: nested folders, look-alike names, formats that are not
// read, links, suffixes, folders given twice, splits that lead elsewhere.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "tests/support/data_files.h"
#include "tests/support/tiny_run.h"
#include "train/data/list_pairs.h"
#include "train/files/file_names.h"
#include "train/pictures/image_files.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> names(const PairList& pairs) {
  std::vector<std::string> out;
  for (const Pair& p : pairs) out.push_back(p.name);
  return out;
}

// L and P in a folder of their own, and the notes of listing them.
struct Custom {
  ScratchFolder folder;
  std::vector<std::string> notes;

  explicit Custom(const std::vector<std::string>& files) {
    fs::create_directories(folder / "L");
    fs::create_directories(folder / "P");
    for (const std::string& file : files) touch(folder / file);
  }
  DatasetOptions options() {
    return {.layout = DatasetLayout::custom,
            .label_dir = folder / "L",
            .image_dir = folder / "P",
            .note = [this](const std::string& text) { notes.push_back(text); }};
  }
  PairList list() { return list_pairs(options()); }
  std::string error() {
    return error_of([&] { list(); });
  }
  std::string generating_error() {
    return error_of([&] {
      DatasetOptions labels = options();
      labels.need_images = false;
      list_pairs(labels);
    });
  }
  std::string at(const std::string& file) const { return (folder / file).string(); }
};

}  // namespace

// ---- what is not read ----

TEST_CASE("case 15-webp-tiff-photos: the file that lies there is named with what is wrong, not a missing photo") {
  ran();
  for (const char* extension : {"webp", "tif", "tiff", "gif", "tga", "ppm", "jfif", "avif", "HEIC"}) {
    const std::string a = std::string("P/a0.") + extension, b = std::string("P/a1.") + extension;
    CAPTURE(a);
    Custom data({"L/a0.png", "L/a1.png", a, b});
    if (picture_kind(a) == PictureKind::readable) {  // jfif always, WebP and TIFF where their libraries are
      CHECK(names(data.list()) == Names{"a0", "a1"});
      continue;
    }
    const std::string reason = ": this build reads no " + picture_format(a) + "; convert it to PNG";
    check_contains(data.error(), {data.at(a) + reason + " (likewise a1." + extension + ")"});
    CHECK_FALSE(contains(data.error(), "without"));
    touch(data.folder / "P/a0.png");  // readable twins make them harmless
    touch(data.folder / "P/a1.jpg");
    CHECK(names(data.list()) == Names{"a0", "a1"});
    REQUIRE(data.notes.size() == 1);
    check_contains(data.notes[0], {"left out", data.at(a) + reason});
  }
}

TEST_CASE("labels of a format that is not read: found none says what lies there, for training and generating alike") {
  Custom data({"L/a0.gif", "L/a1.gif", "P/a0.png", "P/a1.png"});
  for (const std::string& text : {data.error(), data.generating_error()})
    check_contains(text, {"found none", data.at("L/a0.gif") + ": this build reads no GIF", "likewise a1.gif"});

  Custom some({"L/a0.png", "L/a1.gif", "P/a0.png", "P/a1.png"});
  check_contains(some.error(), {some.at("L/a1.gif") + ": this build reads no GIF"});
  CHECK_FALSE(contains(some.error(), "without"));

  Custom both({"L/a0.png", "P/a0.png", "L/a1.avif", "P/a1.avif"});  // no name lacks a partner, but a pair would be lost
  check_contains(both.error(), {both.at("L/a1.avif"), both.at("P/a1.avif")});

  // To generate, the other labels are done and the reader of this one complains.
  DatasetOptions labels = both.options();
  labels.need_images = false;
  CHECK(names(list_pairs(labels)) == Names{"a0", "a1"});
  CHECK(list_pairs(labels)[1].label == both.folder / "L/a1.avif");

  Custom text({"L/a0.txt", "P/a0.png"});
  check_contains(text.error(), {"found none", "no picture by its name: a0.txt"});
  Custom empty({"P/a0.png"});
  check_contains(empty.error(), {"found none in " + empty.at("L")});
}

TEST_CASE("a file of the name that is no picture is named") {
  Custom data({"L/a.png", "L/b.png", "P/a.png", "P/b.txt"});
  check_contains(data.error(),
                 {"1 label(s) without an image, but with " + data.at("P/b.txt") + ", no picture by its name"});
}

TEST_CASE("links that lead nowhere, and what is no file, are named") {
  Custom data({"L/a.png", "L/b.png", "P/a.png"});
  fs::create_symlink("gone.png", data.folder / "P/b.png");
  check_contains(data.error(), {data.at("P/b.png") + ": a link that leads nowhere"});
  fs::remove(data.folder / "L/b.png");
  check_contains(data.error(), {data.at("P/b.png") + ": a link that leads nowhere"});
  fs::remove(data.folder / "P/b.png");
  fs::create_symlink("b.png", data.folder / "P/b.png");  // to itself
  check_contains(data.error(), {data.at("P/b.png") + ": a link that leads nowhere"});
  fs::remove(data.folder / "P/b.png");
  fs::create_symlink("nowhere", data.folder / "P/folder");
  CHECK(names(data.list()) == Names{"a"});
  REQUIRE(data.notes.size() == 1);
  check_contains(data.notes[0], {data.at("P/folder"), "leads nowhere"});
  REQUIRE(mkfifo((data.folder / "L/pipe.png").c_str(), 0600) == 0);
  for (const std::string& error : {data.error(), data.generating_error()})
    check_contains(error, {data.at("L/pipe.png") + ": no ordinary file"});
}

TEST_CASE("hidden files, empty folders and what systems leave behind are passed over without a word") {
  Custom data({"L/a.png", "P/a.jpg", "L/.DS_Store", "L/._a.png", "P/Thumbs.db", "P/desktop.ini", "L/__MACOSX/._a.png",
               "L/__MACOSX/x.png", "P/.cache/x.png", "P/@eaDir/x.jpg"});
  fs::create_directories(data.folder / "P/empty/too");
  CHECK(names(data.list()) == Names{"a"});
  CHECK(data.notes.empty());
}

TEST_CASE("a folder that cannot be listed is one sentence") {
  Custom data({"L/a.png", "P/a.png", "L/sub/b.png"});
  fs::permissions(data.folder / "L/sub", fs::perms::none);
  fs::permissions(data.folder.path(), fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
  const bool root = geteuid() == 0;  // who reads everything
  if (root) REQUIRE(seteuid(65534) == 0);
  const std::string error = data.error();
  if (root) REQUIRE(seteuid(0) == 0);
  check_contains(error, {data.at("L/sub"), "cannot be listed", "Permission denied"});
  fs::permissions(data.folder / "L/sub", fs::perms::owner_all);
}

// ---- folders ----

TEST_CASE("case own-same-folder-twice: one folder for two roles is refused, however it is written or linked") {
  Custom data({"L/a.png", "P/a.png"});
  fs::create_directory_symlink("L", data.folder / "link");
  DatasetOptions options = data.options();
  for (const char* again : {"L", "./L", "L/", "P/../L", "link"}) {
    options.image_dir = data.folder / again;
    check_contains(error_of([&] { list_pairs(options); }),
                   {"--label-dir and --image-dir are the same folder", data.at("L")});
  }
  options = data.options();
  options.instance_dir = data.folder / "P";
  check_contains(error_of([&] { list_pairs(options); }), {"--image-dir and --instance-dir are the same folder"});
  options.instance_dir = data.folder / "link";
  check_contains(error_of([&] { list_pairs(options); }), {"--label-dir and --instance-dir are the same folder"});

  fs::rename(data.folder / "L", data.folder / "train_label");
  fs::create_directory_symlink("train_label", data.folder / "train_img");
  check_contains(error_of([&] { list_pairs({.root = data.folder.path()}); }),
                 {"train_label", "train_img", "same folder"});
}

TEST_CASE("a label and a photo that are one file are refused: by a symbolic and by a hard link") {
  for (const bool symbolic : {true, false}) {
    Custom data({"L/a.png", "L/b.png", "P/a.png"});
    symbolic ? fs::create_symlink(data.folder / "L/b.png", data.folder / "P/b.png")
             : fs::create_hard_link(data.folder / "L/b.png", data.folder / "P/b.png");
    check_contains(data.error(), {data.at("L/b.png"), data.at("P/b.png"), "one and the same file"});
  }
  Custom links({"store/1.png", "store/2.png"});  // links to different files are fine
  fs::create_symlink(links.folder / "store/1.png", links.folder / "L/a.png");
  fs::create_symlink(links.folder / "store/2.png", links.folder / "P/a.png");
  CHECK(names(links.list()) == Names{"a"});
}

TEST_CASE("case 14-nested-all: subfolders mirrored on both sides belong to the data set") {
  Custom data({"L/sub/a0.png", "L/sub/a1.png", "P/sub/a0.png", "P/sub/a1.png"});
  const auto pairs = data.list();
  CHECK(names(pairs) == Names{"sub/a0", "sub/a1"});
  CHECK(pairs[1].label == data.folder / "L/sub/a1.png");
  CHECK(pairs[1].image == data.folder / "P/sub/a1.png");
  touch(data.folder / "L/a0.png");
  touch(data.folder / "P/a0.jpg");
  touch(data.folder / "L/sub/deep/er/a0.png");
  touch(data.folder / "P/sub/deep/er/a0.jpg");
  CHECK(names(data.list()) == Names{"a0", "sub/a0", "sub/a1", "sub/deep/er/a0"});
  touch(data.folder / "L/other/a0.png");
  check_contains(data.error(), {"1 label(s) without an image: other/a0.png"});

  const ScratchFolder facades;
  for (const char* file : {"test_label/x/a.png", "test_img/x/a.jpg", "test_label/b.png", "test_img/b.jpg"})
    touch(facades / file);
  CHECK(names(list_pairs({.root = facades.path(), .phase = "test"})) == Names{"b", "x/a"});
}

TEST_CASE("subfolders on one side only: files pair by their own names, unless a name fits twice") {
  Custom deep_photos({"L/a.png", "L/b.png", "P/x/a.jpg", "P/y/z/b.jpg"});
  CHECK(names(deep_photos.list()) == Names{"a", "b"});
  CHECK(deep_photos.list()[1].image == deep_photos.folder / "P/y/z/b.jpg");
  Custom deep_labels({"L/x/a.png", "L/b.png", "P/a.jpg", "P/b.jpg"});
  CHECK(names(deep_labels.list()) == Names{"b", "x/a"});
  touch(deep_photos.folder / "P/y/a.jpg");
  check_contains(deep_photos.error(),
                 {"no subfolders", deep_photos.at("P/x/a.jpg"), deep_photos.at("P/y/a.jpg"), "same subfolders"});
  touch(deep_labels.folder / "L/y/a.png");
  check_contains(deep_labels.error(), {"no subfolders", deep_labels.at("L/x/a.png"), deep_labels.at("L/y/a.png")});
  Custom webp({"L/a.png", "P/x/a.avif", "P/x/b.jpg", "L/b.png"});
  check_contains(webp.error(), {webp.at("P/x/a.avif") + ": this build reads no AVIF"});
  CHECK_FALSE(contains(webp.error(), "without"));
}

TEST_CASE("folders inside one another keep to themselves, and the folders to skip are not entered") {
  Custom data({"L/a.png", "L/photos/a.jpg", "L/run/samples/step_1.png"});
  DatasetOptions options = data.options();
  options.image_dir = data.folder / "L/photos";
  options.skip = {data.folder / "L/run"};
  CHECK(names(list_pairs(options)) == Names{"a"});
}

TEST_CASE("links to folders are followed, but not in circles") {
  Custom data({"L/a.png", "P/a.png", "store/b.png", "photos/b.png"});
  fs::create_directory_symlink(data.folder / "store", data.folder / "L/more");
  fs::create_directory_symlink(data.folder / "photos", data.folder / "P/more");
  fs::create_directory_symlink(data.folder / "L", data.folder / "store/up");
  CHECK(names(data.list()) == Names{"a", "more/b"});
  REQUIRE(data.notes.size() == 1);
  check_contains(data.notes[0], {data.at("L/more/up"), "link to a folder above it"});
}

// ---- names ----

TEST_CASE("case 14-unicode-nfc-nfd: names that differ in Unicode normal form only are equal") {
  const std::string composed_e = "\xc3\xa9", decomposed_e = "e\xcc\x81";
  Custom data({"L/" + composed_e + "a0.png", "P/" + decomposed_e + "a0.png", "L/" + decomposed_e + "/b.png",
               "P/" + composed_e + "/b.png"});
  CHECK(names(data.list()) == Names{composed_e + "/b", composed_e + "a0"});
  touch(data.folder / ("L/" + decomposed_e + "a0.png"));
  check_contains(data.error(), {"two files are called " + composed_e + "a0", composed_e + "a0.png",
                                decomposed_e + "a0.png", "Unicode form"});

  CHECK(composed("plain") == "plain");
  CHECK(composed(decomposed_e) == composed_e);
  CHECK(composed("\xe1\x84\x80\xe1\x85\xa1") == "\xea\xb0\x80");  // Hangul
  const std::string latin1 =
      "a\xe9"
      "0";
  CHECK(composed(latin1) == latin1);
  Custom bytes({"L/" + latin1 + ".png", "P/" + latin1 + ".jpg"});
  CHECK(names(bytes.list()) == Names{latin1});
}

TEST_CASE("suffixes and prefixes: names pair without them") {
  Custom data({"L/a_seg.png", "L/x/b_seg.png", "P/a.jpg", "P/x/b.jpg"});
  DatasetOptions options = data.options();
  options.label_affixes.suffix = "_seg";
  CHECK(names(list_pairs(options)) == Names{"a", "x/b"});
  touch(data.folder / "L/a_color.png");
  CHECK(names(list_pairs(options)) == Names{"a", "x/b"});
  REQUIRE(data.notes.size() == 1);
  check_contains(data.notes[0], {"left out: 1 picture(s)", "do not end in _seg: a_color.png"});
  options.label_affixes.suffix = "_sge";
  check_contains(error_of([&] { list_pairs(options); }),
                 {"found none", "do not have names that end in _sge: a_color.png, a_seg.png"});
}

TEST_CASE("one folder for all roles, told apart by their suffixes") {
  Custom data({"L/a.jpg", "L/a_seg.png", "L/a_seg_ids.png", "L/b.jpg", "L/b_seg.png", "L/b_seg_ids.png"});
  DatasetOptions options = data.options();
  options.image_dir = options.instance_dir = options.label_dir;
  options.label_affixes.suffix = "_seg";
  options.instance_affixes.suffix = "_seg_ids";
  const auto pairs = list_pairs(options);
  CHECK(names(pairs) == Names{"a", "b"});
  CHECK(pairs[0].image == data.folder / "L/a.jpg");
  CHECK(pairs[0].label == data.folder / "L/a_seg.png");
  CHECK(pairs[1].instance == data.folder / "L/b_seg_ids.png");
  CHECK(data.notes.empty());
}

TEST_CASE("names that do not pair: the error has the flag that would pair them") {
  const auto hint = [](const std::vector<std::string>& files) {
    Custom data(files);
    return data.error();
  };
  const Names photos = {"P/a1.jpg", "P/a10.jpg"};
  const auto with = [&](Names labels) {
    labels.insert(labels.end(), photos.begin(), photos.end());
    return hint(labels);
  };
  check_contains(with({"L/a1_seg.png", "L/a10_seg.png"}), {"; with --label-suffix _seg all would pair"});
  check_contains(with({"L/seg a1.png", "L/seg a10.png"}), {"; with --label-prefix 'seg ' all would pair"});
  check_contains(with({"L/a1-m.png", "L/a10-m.png"}), {"; with --label-suffix=-m all would pair"});
  check_contains(with({"L/a1-- m.png", "L/a10-- m.png"}), {"; with --label-suffix=--' m' all would pair"});
  check_contains(hint({"L/a.png", "L/b.png", "P/a_img.jpg", "P/b_img.jpg"}),
                 {"; with --image-suffix _img all would pair"});
  check_contains(hint({"L/a_m.png", "L/b_m.png", "P/a_p.jpg", "P/b_p.jpg"}),
                 {"; with --label-suffix _m --image-suffix _p all would pair"});
  check_contains(hint({"L/m-1.png", "L/m-2.png", "P/p-1.jpg", "P/p-2.jpg"}),
                 {"; with --label-prefix m- --image-prefix p- all would pair"});
  check_contains(hint({"L/s/a_m.png", "L/t/b_m.png", "P/s/a.jpg", "P/t/b.jpg"}),
                 {"; with --label-suffix _m all would pair"});
  for (const std::string& none : {with({"L/a1_seg.png", "L/a10_sge.png"}), with({"L/b1.png", "L/c10.png"})})
    CHECK_FALSE(contains(none, "would pair"));
  check_contains(hint({"L/a0.png", "L/B1.png", "P/A0.png", "P/b1.png"}), {"upper and lower case only", "A0", "a0"});
  Custom capitals({"L/a.PNG", "P/a.Jpg"});
  CHECK(names(capitals.list()) == Names{"a"});

  const ScratchFolder facades;
  for (const char* file : {"train_label/a_l.png", "train_label/b_l.png", "train_img/a.jpg", "train_img/b.jpg"})
    touch(facades / file);
  check_contains(error_of([&] { list_pairs({.root = facades.path()}); }),
                 {"with --dataset custom --label-dir " + (facades / "train_label").string() + " --image-dir " +
                  (facades / "train_img").string() + " --label-suffix _l all would pair"});
}

// ---- facades and cityscapes ----

TEST_CASE("splits may not lead out of the data's folder") {
  const ScratchFolder folder;
  touch(folder / "data/base/cmp_a.png");
  touch(folder / "data/base/cmp_a.jpg");
  touch(folder / "data/base/more/cmp_b.png");
  touch(folder / "data/base/more/cmp_b.jpg");
  touch(folder / "data/outside.png");
  touch(folder / "data/outside.jpg");
  DatasetOptions options{.root = folder / "data", .split_file = folder / "split.txt"};
  for (const std::string& name :
       Names{"../outside", "more/../../outside.png", (folder / "data/outside").string(), ".."}) {
    write_text(folder / "split.txt", "cmp_a\n" + name + "\n");
    for (const bool need_images : {true, false}) {
      options.need_images = need_images;
      check_contains(error_of([&] { list_pairs(options); }),
                     {(folder / "split.txt").string(), name + ", which leads elsewhere"});
    }
  }
  write_text(folder / "split.txt",
             "\xef\xbb\xbf"
             "cmp_a.png\nmore/cmp_b\n");
  CHECK(names(list_pairs(options)) == Names{"cmp_a", "more/cmp_b"});
}

TEST_CASE("facades: what lies in a missing file's place is named, and pictures beyond the published split are") {
  const ScratchFolder folder;
  Names notes;
  DatasetOptions options{
      .root = folder.path(), .phase = "test", .note = [&](const std::string& text) { notes.push_back(text); }};
  for (int i = 1; i <= 60; ++i) {
    char name[16];
    std::snprintf(name, sizeof name, "cmp_b%04d", i);
    touch(folder / (std::string(name) + ".PNG"));  // endings in capitals will do
    touch(folder / (std::string(name) + ".jpeg"));
  }
  CHECK(list_pairs(options).size() == 60);
  CHECK(notes.empty());
  touch(folder / "cmp_b0400.png");
  CHECK(list_pairs(options).size() == 60);
  REQUIRE(notes.size() == 1);
  check_contains(notes[0], {"left out: 1 name(s)", "cmp_b0400", "--split-file"});
  fs::rename(folder / "cmp_b0007.jpeg", folder / "cmp_b0007.avif");
  fs::rename(folder / "cmp_b0009.PNG", folder / "CMP_b0009.png");
  check_contains(error_of([&] { list_pairs(options); }),
                 {"lacks 2 file(s)", "cmp_b0007.jpg (cmp_b0007.avif: this build reads no AVIF",
                  "cmp_b0009.png (CMP_b0009.png is there)"});
}

TEST_CASE("facades: a split file beside folders of phases is refused, and other layouts are recognised") {
  const ScratchFolder folder;
  touch(folder / "a/train_label/x.png");
  touch(folder / "a/train_img/x.png");
  write_text(folder / "split.txt", "x");
  check_contains(error_of([&] { list_pairs({.root = folder / "a", .split_file = folder / "split.txt"}); }),
                 {"--split-file", "has no effect", "train_label"});
  touch(folder / "b/train/x.png");
  check_contains(error_of([&] { list_pairs({.root = folder / "b"}); }), {"found neither", "--dataset aligned"});
  touch(folder / "c/train_labels/x.png");
  check_contains(error_of([&] { list_pairs({.root = folder / "c"}); }), {"found neither", "--dataset cityscapes"});
  touch(folder / "d/train_img/x.png");
  check_contains(error_of([&] { list_pairs({.root = folder / "d"}); }), {"label maps are not"});
}

TEST_CASE("cityscapes: cities on one side only, unexpected tails and formats that are not read") {
  const ScratchFolder folder;
  Names notes;
  for (const char* frame : {"ulm_000001_000019", "aachen_000000_000019", "aachen_000001_000019"}) {
    const std::string city = std::string(frame).substr(0, std::string(frame).find('_'));
    touch(folder / ("val_labels/" + city + "/" + frame + "_gtFine_labelIds.png"));
    touch(folder / ("val_labels/" + city + "/" + frame + "_gtFine_color.png"));
    touch(folder / ("val_labels/" + city + "/" + frame + "_gtFine_labelTrainIds.png"));
    touch(folder / ("val_images/" + city + "/" + frame + "_leftImg8bit.png"));
  }
  const DatasetOptions options{
      .layout = DatasetLayout::cityscapes, .root = folder.path(), .phase = "val", .note = [&](const std::string& text) {
        notes.push_back(text);
      }};
  const auto error = [&] { return error_of([&] { list_pairs(options); }); };
  CHECK(list_pairs(options).size() == 3);
  CHECK(notes.empty());
  touch(folder / "val_labels/ulm/overview.png");
  CHECK(list_pairs(options).size() == 3);
  REQUIRE(notes.size() == 1);
  check_contains(notes[0], {"left out: 1 picture(s)", "_labelIds: overview.png"});
  fs::rename(folder / "val_images/ulm/ulm_000001_000019_leftImg8bit.png",
             folder / "val_images/ulm/ulm_000001_000019_leftImg8bit.gif");
  check_contains(error(), {"ulm_000001_000019_leftImg8bit.gif: this build reads no GIF"});
  fs::remove_all(folder / "val_images/aachen");
  check_contains(error(), {"the city aachen has 2 label(s), but nothing in " + (folder / "val_images").string()});
}

// ---- aligned ----

TEST_CASE("aligned: every picture of the phase's folder is a pair with itself") {
  const ScratchFolder folder;
  for (const char* file : {"train/2.jpg", "train/1.png", "train/more/3.jpg", "test/4.jpg"}) touch(folder / file);
  DatasetOptions options{.layout = DatasetLayout::aligned, .root = folder.path(), .input_half = Half::right};
  const auto pairs = list_pairs(options);
  CHECK(names(pairs) == Names{"1", "2", "more/3"});
  CHECK(pairs[0].label == folder / "train/1.png");
  CHECK(pairs[0].image == pairs[0].label);
  CHECK(pairs[0].label_half == Half::right);
  options.need_images = false;
  CHECK(list_pairs(options)[0].image.empty());
  touch(folder / "train/5.avif");
  options.need_images = true;
  check_contains(error_of([&] { list_pairs(options); }), {"5.avif: this build reads no AVIF"});
  options.phase = "val";
  check_contains(error_of([&] { list_pairs(options); }), {(folder / "val").string(), "does not exist"});
}
