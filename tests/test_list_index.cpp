// The index of a large data set (train/data/list_index.h): used while nothing has changed, and never when something has.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>

#include "tests/support/data_files.h"
#include "train/data/list_index.h"
#include "train/files/whole_files.h"

using namespace asap;
using namespace asap::tests;
using namespace asap::train;
namespace fs = std::filesystem;

namespace {

constexpr int kPairs = 5000;  // two files each: just worth an index

std::string name_of(int i) { return str("part_", i / 1000, "/scene_", i); }

// A cache of the test's own, for the time of its life.
struct Cache {
  ScratchFolder folder;
  Cache() { use(folder.path()); }
  ~Cache() { unsetenv("XDG_CACHE_HOME"); }
  static void use(const fs::path& path) { REQUIRE(setenv("XDG_CACHE_HOME", path.c_str(), 1) == 0); }
};

// L and P, hard links to one label and one photo. What it changes lies between the others.
struct Large {
  ScratchFolder folder;
  int64_t notes = 0;

  explicit Large(int pairs = kPairs) {
    touch(folder / "label");
    touch(folder / "photo");
    for (int i = 0; i < pairs; ++i) add(name_of(i));
  }
  void add(const std::string& name) {
    for (const auto& [source, file] : {std::pair{"label", "L/" + name + ".png"}, {"photo", "P/" + name + ".jpg"}}) {
      fs::create_directories((folder / file).parent_path());
      fs::create_hard_link(folder / source, folder / file);
    }
  }
  void remove(const std::string& name) {
    fs::remove(folder / ("L/" + name + ".png"));
    fs::remove(folder / ("P/" + name + ".jpg"));
  }
  void rename(const std::string& from, const std::string& to) {
    remove(to);  // of two links to one file, the system renames neither
    fs::rename(folder / ("L/" + from + ".png"), folder / ("L/" + to + ".png"));
    fs::rename(folder / ("P/" + from + ".jpg"), folder / ("P/" + to + ".jpg"));
  }
  DatasetOptions options() {
    return {.layout = DatasetLayout::custom,
            .label_dir = folder / "L",
            .image_dir = folder / "P",
            .note = [this](const std::string&) { ++notes; }};
  }
  PairList list() { return list_pairs(options()); }
  ListIndex index() { return ListIndex(options()); }
  bool has(const std::string& name) {
    for (const Pair pair : list())
      if (pair.name == name)
        return pair.label == folder / ("L/" + name + ".png") && pair.image == folder / ("P/" + name + ".jpg");
    return false;
  }
};

// Until changes are old enough for an index.
void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(2100)); }

void check_same(const PairList& a, const PairList& b) {
  REQUIRE(a.size() == b.size());
  bool same = true;
  for (size_t i = 0; i < a.size(); ++i) {
    const Pair p = a[i], q = b[i];
    same = same && p.name == q.name && p.label == q.label && p.image == q.image && p.instance == q.instance;
  }
  CHECK(same);
}

}  // namespace

TEST_CASE("an index notices what has changed, and serves what has not") {
  const Cache cache;
  const std::string some = name_of(2500), other = name_of(2501);
  struct Change {
    const char* what;
    std::function<void(Large&)> make;
    size_t pairs;             // afterwards
    std::string there, gone;  // names
  };
  const Change changes[] = {
      {"added", [](Large& l) { l.add("part_2/more"); }, kPairs + 1, "part_2/more", ""},
      {"removed", [&](Large& l) { l.remove(some); }, kPairs - 1, other, some},
      {"renamed", [&](Large& l) { l.rename(some, "part_2/more"); }, kPairs, "part_2/more", some},
      {"replaced by another name", [&](Large& l) { l.rename(some, other); }, kPairs - 1, other, some},
      {"a new folder", [](Large& l) { l.add("part_9/more"); }, kPairs + 1, "part_9/more", ""},
      {"a folder replaced by one with the old times",
       [](Large& l) {
         for (const char* side : {"L", "P"}) {
           const fs::path folder = l.folder / side / "part_4", root = folder.parent_path();
           const auto time = fs::last_write_time(folder), above = fs::last_write_time(root);
           fs::remove_all(folder);
           fs::create_directory(folder);
           fs::last_write_time(root, above);
           fs::last_write_time(folder, time);
         }
       },
       kPairs - 1000, some, name_of(4500)},
      {"removed, and the folder's time set back",
       [&](Large& l) {
         for (const char* side : {"L", "P"}) {
           const fs::path folder = l.folder / side / "part_2";
           const auto time = fs::last_write_time(folder);
           fs::remove(l.folder / side / (some + (side[0] == 'L' ? ".png" : ".jpg")));
           fs::last_write_time(folder, time);
         }
       },
       kPairs - 1, other, some},
  };
  std::vector<std::unique_ptr<Large>> sets;
  for (size_t i = 0; i < std::size(changes); ++i) sets.push_back(std::make_unique<Large>());
  settle();
  for (size_t i = 0; i < std::size(changes); ++i) {
    CAPTURE(changes[i].what);
    Large& set = *sets[i];
    CHECK_FALSE(set.index().read());
    const PairList scanned = set.list();
    const std::optional<PairList> kept = set.index().read();
    REQUIRE(kept);
    check_same(scanned, *kept);
    check_same(scanned, set.list());
    changes[i].make(set);
    CHECK_FALSE(set.index().read());
    CHECK(set.list().size() == changes[i].pairs);
    CHECK(set.has(changes[i].there));
    CHECK_FALSE(set.has(changes[i].gone));
    CHECK(set.notes == 0);
  }
}

TEST_CASE("an index is not kept of folders that have just changed") {
  const Cache cache;
  Large set;
  CHECK(set.list().size() == kPairs);
  CHECK_FALSE(fs::exists(set.index().path()));
  set.rename(name_of(1), "part_0/other");  // perhaps in the same tick of the file system's clock
  CHECK(set.has("part_0/other"));
  CHECK_FALSE(set.has(name_of(1)));
  CHECK(fs::is_empty(cache.folder.path()));
}

TEST_CASE("an index that is damaged or somebody else's is written anew") {
  const Cache cache;
  Large set, other;
  settle();
  const PairList scanned = set.list();
  other.list();
  const fs::path path = set.index().path();
  const std::string good = file_text(path);
  REQUIRE(good.size() > 100'000);
  std::string flipped = good, zeros(good.size(), '\0');
  flipped[good.size() / 2] ^= 1;
  for (const std::string& bad :
       {flipped, zeros, good.substr(0, good.size() / 2), good.substr(0, good.size() - 1), good + "x", std::string(),
        std::string("\x7f"), std::string("not an index"), file_text(other.index().path())}) {
    CAPTURE(bad.size());
    write_file(path, bad);
    CHECK_FALSE(set.index().read());
    check_same(scanned, set.list());
    CHECK(file_text(path) == good);
  }
  REQUIRE(fs::remove(path));
  REQUIRE(fs::create_directory(path));  // cannot be written over
  check_same(scanned, set.list());
  CHECK(set.notes == 0);
}

TEST_CASE("without a cache that can be written, the folders are read each time") {
  const Cache cache;
  Large set;
  settle();
  touch(cache.folder / "file");
  for (const fs::path& place : {fs::path("/proc/nowhere"), cache.folder / "file"}) {
    Cache::use(place);
    CHECK(set.list().size() == kPairs);
    CHECK_FALSE(set.index().read());
  }
  CHECK(set.notes == 0);
  Cache::use("relative");  // which the standard has programs ignore
  const std::string home = getenv("HOME") ? getenv("HOME") : "";
  REQUIRE(unsetenv("HOME") == 0);
  CHECK(set.index().path().empty());
  CHECK(set.list().size() == kPairs);
  REQUIRE(setenv("HOME", "/home/somebody", 1) == 0);
  CHECK(set.index().path().parent_path() == "/home/somebody/.cache/asapnet/lists");
  setenv("HOME", home.c_str(), 1);
}

TEST_CASE("data sets that are listed differently do not share an index") {
  const Cache cache;
  const ScratchFolder folder;
  fs::create_directories(folder / "L/run");
  const DatasetOptions base{.layout = DatasetLayout::custom, .label_dir = folder / "L", .image_dir = folder / "P"};
  const auto path = [&](const std::function<void(DatasetOptions&)>& change) {
    DatasetOptions options = base;
    change(options);
    return ListIndex(options).path();
  };
  std::vector<fs::path> paths{
      path([](DatasetOptions&) {}),
      path([](DatasetOptions& o) { std::swap(o.label_dir, o.image_dir); }),
      path([](DatasetOptions& o) { o.instance_dir = o.label_dir; }),
      path([](DatasetOptions& o) { o.label_affixes.suffix = "_seg"; }),
      path([](DatasetOptions& o) { o.label_affixes.prefix = "_seg"; }),
      path([](DatasetOptions& o) { o.image_affixes.suffix = "_seg"; }),
      path([](DatasetOptions& o) { o.need_images = false; }),
      path([](DatasetOptions& o) { o.use_instances = true; }),
      path([](DatasetOptions& o) { o.layout = DatasetLayout::aligned; }),
      path([](DatasetOptions& o) { o.input_half = Half::right; }),
      path([](DatasetOptions& o) { o.phase = "test"; }),
      path([](DatasetOptions& o) { o.split_file = "split.txt"; }),
      path([&](DatasetOptions& o) { o.skip = {folder / "L/run"}; }),
  };
  CHECK(path([](DatasetOptions& o) { o.skip = {"/runs/elsewhere"}; }) == paths.front());
  std::sort(paths.begin(), paths.end());
  CHECK(std::adjacent_find(paths.begin(), paths.end()) == paths.end());
}

TEST_CASE("small data sets, links among the files and what is told of leave no index") {
  const Cache cache;
  Large small(kPairs - 1), links, strangers;
  fs::create_symlink(links.folder / "label", links.folder / "L/part_0/linked.png");
  fs::create_hard_link(links.folder / "photo", links.folder / "P/part_0/linked.jpg");
  touch(strangers.folder / ("P/" + name_of(7) + ".avif"));  // beside the readable one: left out, and told of
  settle();
  CHECK(small.list().size() == kPairs - 1);
  CHECK(links.list().size() == kPairs + 1);
  for (int64_t time = 1; time <= 2; ++time) {
    CHECK(strangers.list().size() == kPairs);
    CHECK(strangers.notes == time);
  }
  CHECK(fs::is_empty(cache.folder.path()));
}

TEST_CASE("a list of pairs gives back what was put in") {
  const std::vector<Pair> pairs{
      {"a", "L/a.png", "P/a.jpg", {}},
      {"b", "L/b.png", "P/b.JPG", "I/b.png"},
      {"sub/c", "L/sub/c_seg.png", "P/x/c.jpg", {}},             // the last component alone
      {"d\xc3\xa9", "L/de\xcc\x81.png", "P/d\xc3\xa9.png", {}},  // another Unicode form: the path as it is
      {"e", "AB/e.png", "AB/e.png", {}, Half::right},
      {"", "somewhere", {}, {}},
      {"p", "p/p/p.png", "", "p"},
  };
  PairList list = pairs;
  const PairList again = PairList::from_bytes(list.to_bytes());
  for (const PairList& l : {list, again}) {
    REQUIRE(l.size() == pairs.size());
    for (size_t i = 0; i < pairs.size(); ++i) {
      CAPTURE(i);
      const Pair p = l[i];
      CHECK(p.name == pairs[i].name);
      CHECK(p.label == pairs[i].label);
      CHECK(p.image == pairs[i].image);
      CHECK(p.instance == pairs[i].instance);
      CHECK(p.label_half == pairs[i].label_half);
    }
  }
  list.resize(2);
  CHECK(list.size() == 2);
  CHECK(list.back().image == "P/b.JPG");
  list.push_back(pairs[2]);
  CHECK(list[2].label == "L/sub/c_seg.png");
  CHECK(contains(error_of([&] { list.resize(4); }), "expected at most 3 pairs to keep, got 4"));
  const std::string bytes = again.to_bytes();
  CHECK(error_of([&] { PairList::from_bytes(std::string_view(bytes).substr(0, bytes.size() - 1)); }) != "");
}
