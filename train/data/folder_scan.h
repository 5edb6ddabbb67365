// What lies in a folder of a data set: the pictures by name, and whatever else might have been meant as one.
// Sits on image_files.h (which formats are read) and file_names.h. Next: match_files.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace asap::train {

struct FoundFile {
  std::filesystem::path path;
  uint64_t inode = 0;  // the directory entry's: equal for hard links
  bool symbolic_link = false;
};

// A file with the name of a picture that cannot be used as one.
struct Stranger {
  enum class Kind { unread_format, leads_nowhere, no_file };
  std::filesystem::path path;
  Kind kind = Kind::unread_format;
  std::string reason;  // "this build reads no WebP; convert it to PNG"
};

struct FolderScan {
  std::filesystem::path folder;
  std::map<std::string, FoundFile> files;               // by name
  std::multimap<std::string, Stranger> strangers;       // likewise
  std::map<std::string, std::filesystem::path> others;  // files that are no pictures by their names
  std::vector<std::filesystem::path> unnamed;           // pictures that name_of left out
  std::vector<std::string> remarks;                     // links that were not followed
};

struct ScanOptions {
  std::string what;  // "labels": for errors
  // The name of a picture from its path below the folder ("sub/a0.png"); "" leaves it out.
  std::function<std::string(const std::string&)> name_of;
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
