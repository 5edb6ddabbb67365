// Files of the user's that a command must not write over, told apart by what they are and not by how they are spelled:
// a link of either kind, another case or another path to the same file is the same file. Used by generate and encode.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>

namespace asap::train {

class OutputGuard {
 public:
  // `what` completes "FILE is ...": "the label map itself". Files that are not there are nobody's and left out.
  void protect(const std::filesystem::path& file, const std::string& what);

  // asap::Error: "L/a0.png is the label map itself; choose another --out", or `output` is a folder.
  void check(const std::filesystem::path& output, const std::string& flag = "--out") const;

 private:
  struct Protected {
    std::filesystem::path file;
    std::string what;
  };
  std::map<std::pair<uint64_t, uint64_t>, Protected> files_;  // by device and inode
};

// OUT/NAME + tail; asap::Error where that would lie outside `out`.
std::filesystem::path output_path(const std::filesystem::path& out, const std::string& name, const std::string& tail);

}  // namespace asap::train
