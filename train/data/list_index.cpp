// The file: a mark, the options, the folders, the list, and a checksum of all that. Declared in list_index.h.
#include "train/data/list_index.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <sstream>

#include "tensor/error.h"
#include "train/data/byte_text.h"
#include "train/data/random.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMark = 0x315453494c505341;  // "ASPLIST1"; another byte order reads another number
constexpr int64_t kSettled = 2'000'000'000;  // file systems that count time in whole or even seconds are still in use

uint64_t hash_of(std::string_view bytes) {
  uint64_t hash = bytes.size();
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    hash = mix64(hash + mix64(word + 0x9e3779b97f4a7c15u));
  }
  for (const unsigned char byte : bytes) hash = mix64(hash + mix64(byte + 1u));
  return hash;
}

fs::path cache_folder() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && fs::path(cache).is_absolute())
    return fs::path(cache) / "asapnet/lists";  // the standard ignores relative ones
  return home && fs::path(home).is_absolute() ? fs::path(home) / ".cache/asapnet/lists" : fs::path();
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

std::string key_of(const DatasetOptions& o) {
  std::error_code ignored;
  ByteWriter key;
  const auto path = [&](const fs::path& p) {  // as given, since listed paths begin so, and where that is
    key.text(p.native());
    key.text(p.empty() ? "" : fs::absolute(p, ignored).native());
  };
  const auto affixes = [&](const Affixes& a) {
    key.text(a.prefix);
    key.text(a.suffix);
  };
  for (const fs::path& p : {o.root, o.split_file, o.label_dir, o.image_dir, o.instance_dir}) path(p);
  for (const Affixes& a : {o.label_affixes, o.image_affixes, o.instance_affixes}) affixes(a);
  key.text(o.phase);
  key.number(o.layout);
  key.number(o.input_half);
  key.number(o.need_images);
  key.number(o.use_instances);
  for (const char* optional : {"a.webp", "a.tiff"}) key.number(picture_kind(optional));  // what this build reads
  // A folder to skip matters inside the data alone: runs elsewhere share the index.
  for (const fs::path& skip : o.skip) {
    const fs::path place = fs::weakly_canonical(skip, ignored);
    for (const fs::path& folder : {o.root, o.label_dir, o.image_dir, o.instance_dir})
      if (!folder.empty() && lies_in(place, fs::weakly_canonical(folder, ignored))) key.text(place.native());
  }
  return key.take();
}

}  // namespace

ListIndex::ListIndex(const DatasetOptions& options)
    : key_(key_of(options)),
      begin_(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
                 .count()) {
  if (const fs::path folder = cache_folder(); !folder.empty()) {
    std::ostringstream name;
    name << std::hex << std::setw(16) << std::setfill('0') << hash_of(key_) << ".index";
    path_ = folder / name.str();
  }
  const auto watch = [this](const fs::path& p) { beside_.push_back({p.native(), stamp_of(p.c_str())}); };
  if (!options.root.empty()) {  // where layouts and splits are recognised
    watch(options.root);
    watch(options.root / ("split_" + options.phase + ".txt"));
  }
  if (!options.split_file.empty()) watch(options.split_file);
}

std::optional<PairList> ListIndex::read() const {
  try {
    if (path_.empty() || !is_there(path_)) return std::nullopt;
    const std::string file = file_text(path_);
    const std::string_view all = file;
    if (all.size() < sizeof(uint64_t)) return std::nullopt;
    const std::string_view body = all.substr(0, all.size() - sizeof(uint64_t));
    if (ByteReader(all.substr(body.size())).number<uint64_t>() != hash_of(body)) return std::nullopt;
    ByteReader reader(body);
    if (reader.number<uint64_t>() != kMark || reader.text() != key_) return std::nullopt;
    for (auto left = reader.number<uint64_t>(); left > 0; --left) {
      const std::string path(reader.text());
      if (stamp_of(path.c_str()) != reader.number<Stamp>()) return std::nullopt;
    }
    return PairList::from_bytes(reader.text());
  } catch (const Error&) {  // unreadable, or not as write() makes it
    return std::nullopt;
  }
}

void ListIndex::write(const PairList& pairs) const {
  std::vector<StampedPath> seen = pairs.folders;
  if (path_.empty() || seen.empty()) return;
  seen.insert(seen.end(), beside_.begin(), beside_.end());
  const bool settled = std::all_of(seen.begin(), seen.end(),
                                   [this](const StampedPath& s) { return s.stamp.newest() + kSettled < begin_; });
  const size_t files = pairs.size() * (pairs.front().image.empty() ? 1 : 2);
  if (files < kWorthAnIndex || !settled) return;
  ByteWriter file;
  file.number(kMark);
  file.text(key_);
  file.number<uint64_t>(seen.size());
  for (const StampedPath& s : seen) {
    file.text(s.path);
    file.number(s.stamp);
  }
  file.text(pairs.to_bytes());
  std::string bytes = file.take();
  const uint64_t checksum = hash_of(bytes);
  bytes.append(reinterpret_cast<const char*>(&checksum), sizeof checksum);
  try {
    make_folder(path_.parent_path());
    write_file(path_, bytes);
  } catch (const Error&) {  // a cache is a convenience: without it, the folders are read again
  }
}

}  // namespace asap::train
