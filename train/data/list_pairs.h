// Datasets: which files belong together, in the folders of each layout. Next: load_sample.h; inside: list_facades.h,
// match_files.h.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "train/data/pair_list.h"
#include "train/files/user_text.h"

namespace asap::train {

// facades     the CMP base folder (cmp_bNNNN.jpg and .png side by side, in ROOT or ROOT/base), or ROOT/PHASE_label and
//             ROOT/PHASE_img with files of equal names
// cityscapes  ROOT/PHASE_labels (*_labelIds.png, *_instanceIds.png) and ROOT/PHASE_images; city subfolders are searched too
// custom      label_dir, image_dir and instance_dir, files of equal names
// aligned     ROOT/PHASE, pictures of an even width: their left half is A, their right half B
// Except for the CMP base folder, subfolders belong to it: a name is the path below the folder, without the extension.
enum class DatasetLayout { facades, cityscapes, custom, aligned };

// What a file's name has before and behind the name of its pair: "a_seg.png" has the suffix "_seg".
struct Affixes {
  std::string prefix = {}, suffix = {};
  bool operator==(const Affixes&) const = default;
};

struct DatasetOptions {
  DatasetLayout layout = DatasetLayout::facades;
  std::filesystem::path root = {};  // facades, cityscapes, aligned
  std::string phase = "train";      // folder prefix, or the name of the split
  // CMP base folder: one stem a line. Empty: ROOT/split_PHASE.txt if there is one, else the published split (test
  // b0001-b0060, train b0061-b0378).
  std::filesystem::path split_file = {};
  std::filesystem::path label_dir = {}, image_dir = {}, instance_dir = {};  // custom; instance_dir may be empty
  Affixes label_affixes = {}, image_affixes = {}, instance_affixes = {};  // custom; folders may be one if these differ
  Half input_half = Half::left;                                           // aligned
  bool need_images = true;                                                // false for generating: labels alone will do
  bool use_instances = false;  // cityscapes: look for *_instanceIds.png (custom: instance_dir says so)
  std::vector<std::filesystem::path> skip = {};         // folders not to look into, such as the run's own
  std::function<void(const std::string&)> note = warn;  // told what is left out without harm
};

// All pairs of the dataset, sorted by name, at least one; large ones come from an index where nothing has changed (list_index.h).
// asap::Error lists files without a partner and what keeps them
// from having one (a format that is not read, a link that leads nowhere, a constant ending of the names), folders that are
// missing or one and the same, names of a split that have no file or lead elsewhere, and two files competing for one name.
PairList list_pairs(const DatasetOptions& options);

}  // namespace asap::train
