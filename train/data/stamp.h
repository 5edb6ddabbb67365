// What tells whether a file or folder is still the one that was looked at. Used by folder_scan.h and list_index.h.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace asap::train {

// Identity and times, of the target where there is a link. The time of change is kept beside that of modification, as programs
// that copy folders set the latter back. All zero: nothing there.
struct Stamp {
  uint64_t device = 0, inode = 0;
  int64_t modified = 0, changed = 0;  // nanoseconds since 1970

  bool operator==(const Stamp&) const = default;
  int64_t newest() const { return std::max(modified, changed); }
};

struct StampedPath {
  std::string path;
  Stamp stamp;
};

inline Stamp stamp_of(const struct stat& s) {
  const auto nanoseconds = [](const timespec& t) { return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  return {s.st_dev, s.st_ino, nanoseconds(s.st_mtim), nanoseconds(s.st_ctim)};
}

inline Stamp stamp_of(const char* path) {
  struct stat s {};
  return stat(path, &s) == 0 ? stamp_of(s) : Stamp{};
}

}  // namespace asap::train
