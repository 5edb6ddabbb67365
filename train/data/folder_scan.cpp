// Walks a folder by readdir: the entry itself tells file, folder or link, so that only links cost a stat. See folder_scan.h.
#include "train/data/folder_scan.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "tensor/error.h"
#include "train/files/file_names.h"
#include "train/pictures/image_files.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

// Left behind by Windows, macOS archives and network disks.
constexpr std::array<std::string_view, 5> kLitter = {"Thumbs.db", "ehthumbs.db", "desktop.ini", "__MACOSX", "@eaDir"};

bool is_litter(const std::string& name) {
  return name.starts_with('.') || std::find(kLitter.begin(), kLitter.end(), name) != kLitter.end();
}

struct FolderId {
  dev_t device;
  ino_t inode;
  bool operator==(const FolderId&) const = default;
};

FolderId id_of(const struct stat& s) { return {s.st_dev, s.st_ino}; }

enum class EntryType { file, folder, special, nowhere };

class Walk {
 public:
  Walk(const fs::path& folder, const ScanOptions& options) : options_(options) {
    scan_.folder = folder;
    for (const fs::path& path : options.skip) {
      struct stat s {};
      if (!path.empty() && stat(path.c_str(), &s) == 0) skip_.push_back(id_of(s));
    }
    struct stat s {};
    if (stat(folder.c_str(), &s) == 0) above_.push_back(id_of(s));
    enter(folder, "");
  }

  FolderScan take() { return std::move(scan_); }

 private:
  // `below`: the path from the scanned folder, "" or "sub/".
  void enter(const fs::path& folder, const std::string& below) {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
    if (!entries) refuse(folder);
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(entries.get());
      if (!entry) {
        if (errno != 0) refuse(folder);
        return;
      }
      if (!is_litter(entry->d_name)) consider(*entry, folder / entry->d_name, below + entry->d_name);
    }
  }

  [[noreturn]] void refuse(const fs::path& folder) const {
    fail("dataset: the folder of ", options_.what, ", ", folder.string(), ", cannot be listed (", std::strerror(errno),
         ")");
  }

  void consider(const dirent& entry, const fs::path& path, const std::string& relative) {
    struct stat target {};
    bool known = false;  // whether `target` is filled
    EntryType type = EntryType::special;
    if (entry.d_type == DT_REG) {
      type = EntryType::file;
    } else {
      known = stat(path.c_str(), &target) == 0;
      type = !known                    ? EntryType::nowhere
             : S_ISREG(target.st_mode) ? EntryType::file
             : S_ISDIR(target.st_mode) ? EntryType::folder
                                       : EntryType::special;
    }
    switch (type) {
      case EntryType::file: return add_file(path, relative, entry.d_ino, entry.d_type == DT_LNK);
      case EntryType::folder: return add_folder(path, relative, id_of(target));
      case EntryType::nowhere:
        return add_stranger(path, relative, Stranger::Kind::leads_nowhere, "a link that leads nowhere");
      case EntryType::special: return add_stranger(path, relative, Stranger::Kind::no_file, "no ordinary file");
    }
  }

  void add_folder(const fs::path& path, const std::string& relative, FolderId id) {
    if (!options_.recursive) return;
    if (std::find(above_.begin(), above_.end(), id) != above_.end()) {
      scan_.remarks.push_back(path.string() + " is a link to a folder above it and is not followed");
      return;
    }
    if (std::find(skip_.begin(), skip_.end(), id) != skip_.end()) return;
    above_.push_back(id);
    enter(path, relative + "/");
    above_.pop_back();
  }

  void add_file(const fs::path& path, const std::string& relative, uint64_t inode, bool symbolic_link) {
    switch (picture_kind(relative)) {
      case PictureKind::none: scan_.others.emplace(composed(without_extension(relative)), path); return;
      case PictureKind::unreadable:
        add_stranger(path, relative, Stranger::Kind::unread_format,
                     "this build reads no " + picture_format(relative) + "; convert it to PNG");
        return;
      case PictureKind::readable: break;
    }
    const std::string name = composed(options_.name_of(relative));
    if (name.empty()) {
      scan_.unnamed.push_back(path);
      return;
    }
    const auto [other, is_new] = scan_.files.emplace(name, FoundFile{path, inode, symbolic_link});
    if (!is_new) {
      const auto both = std::minmax({other->second.path.string(), path.string()});
      const bool forms = without_extension(both.first) != without_extension(both.second) &&
                         composed(both.first) == composed(both.second);
      fail("dataset: two files are called ", name, ": ", both.first, " and ", both.second,
           forms ? " (they differ in the Unicode form of an accent only); expected one" : "; expected one");
    }
  }

  void add_stranger(const fs::path& path, const std::string& relative, Stranger::Kind kind, const std::string& reason) {
    if (picture_kind(relative) == PictureKind::none) {
      if (kind == Stranger::Kind::leads_nowhere) scan_.remarks.push_back(path.string() + " is " + reason);
      return;
    }
    const std::string name = composed(options_.name_of(relative));
    if (name.empty())
      scan_.unnamed.push_back(path);
    else
      scan_.strangers.emplace(name, Stranger{path, kind, reason});
  }

  const ScanOptions& options_;
  FolderScan scan_;
  std::vector<FolderId> skip_, above_;  // folders not to enter; the one being read and those above it
};

}  // namespace

FolderScan scan_folder(const fs::path& folder, const ScanOptions& options) {
  check_folder(folder, options.what);
  return Walk(folder, options).take();
}

void check_folder(const fs::path& folder, const std::string& what) {
  ASAP_CHECK(!folder.empty(), "dataset: expected a folder of ", what, ", none was given");
  std::error_code error;
  const auto status = fs::status(folder, error);
  ASAP_CHECK(!error || error == std::errc::no_such_file_or_directory, "dataset: the folder of ", what, ", ",
             folder.string(), ", cannot be opened (", error.message(), ")");
  ASAP_CHECK(fs::exists(status), "dataset: the folder of ", what, ", ", folder.string(), ", does not exist");
  ASAP_CHECK(fs::is_directory(status), "dataset: expected a folder of ", what, ", found a file: ", folder.string());
}

void check_two_folders(const fs::path& a, const std::string& a_called, const fs::path& b, const std::string& b_called,
                       const std::string& remedy) {
  std::error_code ignored;
  ASAP_CHECK(!fs::equivalent(a, b, ignored), "dataset: ", a_called, " and ", b_called, " are the same folder (",
             a.string(), a.lexically_normal() == b.lexically_normal() ? "" : " and " + b.string(), "); ", remedy);
}

std::string without_extension(const std::string& path) {
  const size_t slash = path.rfind('/'), start = slash == std::string::npos ? 0 : slash + 1;
  const size_t dot = path.rfind('.');
  return dot == std::string::npos || dot <= start ? path : path.substr(0, dot);
}

std::string enumerate(const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kShown) text += str(" and ", names.size() - kShown, " more");
  return text;
}

}  // namespace asap::train
