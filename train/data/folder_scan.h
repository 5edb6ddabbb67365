// What lies in a folder of a data set: the pictures by name, and whatever else might have been meant as one.
// Sits on found_files.h, image_files.h (which formats are read) and file_names.h. Next: match_files.h.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "train/data/found_files.h"
#include "train/data/stamp.h"

namespace asap::train {

// A file with the name of a picture that cannot be used as one.
struct Stranger {
  enum class Kind { unread_format, leads_nowhere, no_file };
  std::filesystem::path path;
  Kind kind = Kind::unread_format;
  std::string reason;  // "this build reads no WebP; convert it to PNG"
};

struct FolderScan {
  std::filesystem::path folder;
  FoundFiles files;                                // by name
  FoundFiles others;                               // likewise: files that are no pictures by their names
  std::multimap<std::string, Stranger> strangers;  // likewise
  std::vector<std::filesystem::path> unnamed;      // pictures that name_of left out
  std::vector<std::string> remarks;                // links that were not followed
  std::vector<StampedPath> visited;                // every folder, as it was before it was read
  bool links = false;                              // whether there are symbolic ones
};

struct ScanOptions {
  std::string what;  // "labels": for errors
  // The name of a picture from its path below the folder ("sub/a0.png"); "" leaves it out.
  std::function<std::string(const std::string&)> name_of;
  // Pictures that lie there for something else, by their paths: passed over, so that they are not among the unnamed.
  std::function<bool(const std::string&)> passes_over = [](const std::string&) { return false; };
  bool recursive = true;
  std::vector<std::filesystem::path> skip = {};  // folders not to enter
};

// Hidden files and folders and what systems leave behind (Thumbs.db, __MACOSX) are passed over. Links are followed, but
// not in circles. asap::Error: no such folder, not a folder, a folder that cannot be listed, two files of one name.
FolderScan scan_folder(const std::filesystem::path& folder, const ScanOptions& options);

// asap::Error unless there is such a folder.
void check_folder(const std::filesystem::path& folder, const std::string& what);

// asap::Error unless the two are different folders, however they are written and linked.
void check_two_folders(const std::filesystem::path& a, const std::string& a_called, const std::filesystem::path& b,
                       const std::string& b_called, const std::string& remedy = "expected two");

// "sub/a0.png" -> "sub/a0"
std::string without_extension(const std::string& path);

// "a, b, c and 7 more"
std::string enumerate(const std::vector<std::string>& names);

}  // namespace asap::train
