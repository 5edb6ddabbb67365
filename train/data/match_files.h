// Which label map, photo and instance map belong together, by their names; and what to say when they do not.
// Sits on folder_scan.h; used by list_facades.cpp and list_pairs.cpp.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/data/folder_scan.h"
#include "train/data/list_pairs.h"

namespace asap::train {

// The files of one role.
struct Side {
  const char* one;          // "label", "image", "instance map"
  std::string option = {};  // "--label", of --label-suffix; "" where names have a form of their own
  std::string instead =
      {};                // flags that the layout itself would have to give way to, for --label-suffix to have an effect
  Affixes affixes = {};  // that names have already lost
  FolderScan scan = {};
};

// The pictures below `folder` by their paths without extension and without `affixes`, as one side of match_files; a file
// that fits longer ones of `rivals` is theirs, for roles that share a folder.
Side scan_side(const char* one, const std::filesystem::path& folder, const std::string& what,
               const Affixes& affixes = {}, const std::vector<Affixes>& rivals = {},
               const std::vector<std::filesystem::path>& skip = {});

// Labels with the images and instance maps of equal names (null: not asked for), sorted by name. Where one side has
// subfolders and the other has none, the file's own name decides. Without images (to generate), a label that cannot be
// read is listed all the same, for its reader to say so; `note` is told what is left out without harm.
// asap::Error: no labels; files without a partner, with what lies there instead and the flag that would help; a label and
// a photo that are one file; names that fit twice.
PairList match_files(Side labels, std::optional<Side> images, std::optional<Side> instances,
                     const std::function<void(const std::string&)>& note);

// What cannot be used as a picture and has no readable twin of its name, each with its reason; "" if there is nothing.
std::string unusable(const FolderScan& scan);

// The name without the beginning and the ending of its last component; "" if it does not have them, or nothing besides.
std::string without_affixes(const std::string& name, const Affixes& affixes);

// "; with --label-suffix _seg all would pair", or "" if no constant beginning or ending of the names, on either side,
// explains why they do not pair. For names as in Side::scan, which lack partners.
std::string pairing_hint(const Side& labels, const Side& others);

}  // namespace asap::train
