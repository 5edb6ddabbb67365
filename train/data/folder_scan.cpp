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

bool is_litter(std::string_view name) {
  return name.starts_with('.') || std::find(kLitter.begin(), kLitter.end(), name) != kLitter.end();
}

struct FolderId {
  dev_t device;
  ino_t inode;
  bool operator==(const FolderId&) const = default;
};

FolderId id_of(const struct stat& s) { return {s.st_dev, s.st_ino}; }

class Walk {
 public:
  Walk(const fs::path& folder, const ScanOptions& options) : options_(options) {
    scan_.folder = folder;
    scan_.files = scan_.others = FoundFiles(folder.string());
    for (const fs::path& path : options.skip) {
      struct stat s {};
      if (!path.empty() && stat(path.c_str(), &s) == 0) skip_.push_back(id_of(s));
    }
    struct stat s {};
    if (stat(folder.c_str(), &s) == 0) above_.push_back(id_of(s));
    enter(folder, "");
    scan_.files.sort();
    scan_.others.sort();
    check_names();
  }

  FolderScan take() { return std::move(scan_); }

 private:
  // `below`: the path from the scanned folder, "" or "sub/".
  void enter(const fs::path& folder, const std::string& below) {
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
    if (!entries) refuse(folder);
    struct stat s {};
    if (fstat(dirfd(entries.get()), &s) != 0) refuse(folder);
    scan_.visited.push_back({folder.string(), stamp_of(s)});
    std::string relative = below;
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(entries.get());
      if (!entry) {
        if (errno != 0) refuse(folder);
        return;
      }
      if (is_litter(entry->d_name)) continue;
      relative.replace(below.size(), std::string::npos, entry->d_name);
      if (entry->d_type == DT_REG)
        add_file(relative, entry->d_ino, false);
      else
        look_at(*entry, folder / entry->d_name, relative);
    }
  }

  [[noreturn]] void refuse(const fs::path& folder) const {
    fail("dataset: the folder of ", options_.what, ", ", folder.string(), ", cannot be listed (", std::strerror(errno),
         ")");
  }

  // What the entry itself does not tell to be a file.
  void look_at(const dirent& entry, const fs::path& path, const std::string& relative) {
    struct stat self {
    }, target{};
    const bool link = lstat(path.c_str(), &self) == 0 && S_ISLNK(self.st_mode);
    scan_.links = scan_.links || link;
    if (stat(path.c_str(), &target) != 0)
      add_stranger(path, relative, Stranger::Kind::leads_nowhere, "a link that leads nowhere");
    else if (S_ISREG(target.st_mode))
      add_file(relative, entry.d_ino, link);
    else if (S_ISDIR(target.st_mode))
      add_folder(path, relative, id_of(target));
    else
      add_stranger(path, relative, Stranger::Kind::no_file, "no ordinary file");
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

  void add_file(const std::string& relative, uint64_t inode, bool symbolic_link) {
    switch (kind_of(relative)) {
      case PictureKind::none: scan_.others.add(composed(without_extension(relative)), relative); return;
      case PictureKind::unreadable:
        add_stranger(scan_.folder / relative, relative, Stranger::Kind::unread_format,
                     "this build reads no " + picture_format(relative) + "; convert it to PNG");
        return;
      case PictureKind::readable: break;
    }
    const std::string name = composed(options_.name_of(relative));
    if (name.empty())
      add_unnamed(scan_.folder / relative, relative);
    else
      scan_.files.add(name, relative, inode, symbolic_link);
  }

  void add_stranger(const fs::path& path, const std::string& relative, Stranger::Kind kind, const std::string& reason) {
    if (kind_of(relative) == PictureKind::none) {
      if (kind == Stranger::Kind::leads_nowhere) scan_.remarks.push_back(path.string() + " is " + reason);
      return;
    }
    const std::string name = composed(options_.name_of(relative));
    if (name.empty())
      add_unnamed(path, relative);
    else
      scan_.strangers.emplace(name, Stranger{path, kind, reason});
  }

  void add_unnamed(const fs::path& path, const std::string& relative) {
    if (!options_.passes_over(relative)) scan_.unnamed.push_back(path);
  }

  // picture_kind, whose answer depends on the extension alone.
  PictureKind kind_of(const std::string& relative) {
    const size_t stem = without_extension(relative).size();
    const auto known = kinds_.find(std::string_view(relative).substr(stem));
    return known != kinds_.end() ? known->second
                                 : kinds_.emplace(relative.substr(stem), picture_kind(relative)).first->second;
  }

  void check_names() const {
    const FoundFiles& files = scan_.files;
    for (size_t i = 1; i < files.size(); ++i) {
      if (files.name(i - 1) != files.name(i)) continue;
      const auto both = std::minmax({files.path(i - 1), files.path(i)});
      const bool forms = without_extension(both.first) != without_extension(both.second) &&
                         composed(both.first) == composed(both.second);
      fail("dataset: two files are called ", files.name(i), ": ", both.first, " and ", both.second,
           forms ? " (they differ in the Unicode form of an accent only); expected one" : "; expected one");
    }
  }

  const ScanOptions& options_;
  FolderScan scan_;
  std::vector<FolderId> skip_, above_;  // folders not to enter; the one being read and those above it
  std::map<std::string, PictureKind, std::less<>> kinds_;  // by extension
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
