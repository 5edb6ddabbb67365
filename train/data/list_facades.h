// The facades layout of list_pairs (dataset.h): the CMP base folder with its splits, or folders PHASE_label and PHASE_img.
#pragma once

#include <vector>

#include "train/data/dataset.h"
#include "train/data/match_files.h"

namespace asap::train {

std::vector<Pair> list_facades(const DatasetOptions& options);

// The pictures below `folder` by their paths without extension and without `affixes`, as one side of match_files; a file
// that fits longer ones of `rivals` is theirs, for roles that share a folder.
Side scan_side(const char* one, const std::filesystem::path& folder, const std::string& what,
               const Affixes& affixes = {}, const std::vector<Affixes>& rivals = {},
               const std::vector<std::filesystem::path>& skip = {});

// asap::Error unless the two are different folders, however they are written and linked.
void check_two_folders(const std::filesystem::path& a, const std::string& a_called, const std::filesystem::path& b,
                       const std::string& b_called, const std::string& remedy = "expected two");

}  // namespace asap::train
