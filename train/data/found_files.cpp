// Sorting, looking up and comparing. Declared in found_files.h.
#include "train/data/found_files.h"

#include <algorithm>

namespace asap::train {

FoundFiles::FoundFiles(std::string folder) : folder_(std::move(folder)) {
  if (!folder_.empty() && !folder_.ends_with('/')) folder_ += '/';
}

void FoundFiles::add(std::string_view name, std::string_view relative, uint64_t inode, bool symbolic_link) {
  const bool apart = !relative.starts_with(name);
  entries_.push_back({.at = text_.size(),
                      .inode = inode,
                      .name_size = static_cast<uint16_t>(name.size()),
                      .relative_at = static_cast<uint16_t>(apart ? name.size() : 0),
                      .relative_size = static_cast<uint16_t>(relative.size()),
                      .symbolic_link = symbolic_link});
  if (apart) text_ += name;
  text_ += relative;
}

void FoundFiles::sort() {
  std::sort(entries_.begin(), entries_.end(),
            [this](const Entry& a, const Entry& b) { return text(a.at, a.name_size) < text(b.at, b.name_size); });
}

std::string FoundFiles::path(size_t i) const {
  const std::string_view below = relative(i);
  std::string path;
  path.reserve(folder_.size() + below.size());
  return path.append(folder_).append(below);
}

size_t FoundFiles::find(std::string_view name) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), name,
                                   [this](const Entry& e, std::string_view n) { return text(e.at, e.name_size) < n; });
  return at == entries_.end() || text(at->at, at->name_size) != name ? npos
                                                                     : static_cast<size_t>(at - entries_.begin());
}

std::vector<size_t> FoundFiles::missing_in(const FoundFiles& others) const {
  std::vector<size_t> missing;
  for (size_t i = 0, j = 0; i < size(); ++i) {
    while (j < others.size() && others.name(j) < name(i)) ++j;
    if (j == others.size() || others.name(j) != name(i)) missing.push_back(i);
  }
  return missing;
}

void FoundFiles::rename(const std::map<std::string, std::string>& new_names) {
  FoundFiles renamed(folder_);
  for (size_t i = 0; i < size(); ++i) {
    const auto found = new_names.find(std::string(name(i)));
    renamed.add(found == new_names.end() ? name(i) : found->second, relative(i), inode(i), symbolic_link(i));
  }
  renamed.sort();
  *this = std::move(renamed);
}

}  // namespace asap::train
