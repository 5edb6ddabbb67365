// The index of a large data set: its list of pairs in a file of the user's cache, read instead of the folders as long as those are
// as they were. Sits on pair_list.h; used by list_pairs.cpp.
//
// Every folder that was read is looked at again (device, inode, times of modification and change in nanoseconds), and the root and the
// split file. Not kept: lists of fewer than kWorthAnIndex files, those with links among the files, and those of folders that changed
// in the last two seconds, as the next change might get the same time. What is unreadable, damaged or another program's is not used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/data/list_pairs.h"

namespace asap::train {

inline constexpr size_t kWorthAnIndex = 10'000;

class ListIndex {
 public:
  // Of the data set that these options describe; to be made before it is listed.
  explicit ListIndex(const DatasetOptions& options);

  // $XDG_CACHE_HOME/asapnet/lists/HASH.index, with ~/.cache for a variable that is not set; "": there is no such place.
  const std::filesystem::path& path() const { return path_; }
  // Nothing unless the file is there and the folders are as it says.
  std::optional<PairList> read() const;
  // Does nothing where the list is not worth it or not to be trusted, or the file cannot be written.
  void write(const PairList& pairs) const;

 private:
  std::filesystem::path path_;
  std::string key_;                  // the options as text
  std::vector<StampedPath> beside_;  // what else the list depends on
  int64_t begin_ = 0;                // nanoseconds since 1970
};

}  // namespace asap::train
