// The files of a folder by their names, however many: one text for all names and paths. Filled by folder_scan.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace asap::train {

// Files are added in any order; sort() puts them in the order of their names, which the look-ups below it take for granted.
// Memory: 24 bytes a file and its path below the folder, a second time if that does not begin with the name.
class FoundFiles {
 public:
  FoundFiles() = default;
  explicit FoundFiles(std::string folder);

  // `relative`: the path below the folder. `inode`: the directory entry's, equal for hard links.
  void add(std::string_view name, std::string_view relative, uint64_t inode = 0, bool symbolic_link = false);
  void sort();

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  std::string_view name(size_t i) const { return text(entries_[i].at, entries_[i].name_size); }
  std::string_view relative(size_t i) const {
    return text(entries_[i].at + entries_[i].relative_at, entries_[i].relative_size);
  }
  std::string path(size_t i) const;  // with the folder
  uint64_t inode(size_t i) const { return entries_[i].inode; }
  bool symbolic_link(size_t i) const { return entries_[i].symbolic_link; }

  static constexpr size_t npos = static_cast<size_t>(-1);
  size_t find(std::string_view name) const;  // npos: there is none
  bool contains(std::string_view name) const { return find(name) != npos; }
  // Files, in order, whose names `others` lacks.
  std::vector<size_t> missing_in(const FoundFiles& others) const;
  // Files that have the names on the left get those on the right.
  void rename(const std::map<std::string, std::string>& new_names);

 private:
  struct Entry {
    uint64_t at = 0;  // of the name in text_
    uint64_t inode = 0;
    uint16_t name_size = 0, relative_at = 0, relative_size = 0;  // paths have up to 4096 bytes
    bool symbolic_link = false;
  };
  std::string_view text(size_t at, size_t size) const { return std::string_view(text_).substr(at, size); }

  std::string folder_;  // with a slash behind it
  std::string text_;
  std::vector<Entry> entries_;
};

}  // namespace asap::train
