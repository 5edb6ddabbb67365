// Datasets: which files belong together (list_pairs) and how a pair of files becomes a sample (load_sample).
// Implemented in list_pairs.cpp (with list_facades.cpp) and load_sample.cpp; sits on match_files.h, image_files.h, resize.h. Next: prefetch_loader.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "train/pictures/image.h"

namespace asap::train {

class LabelColours;  // label_colours.h

// ---- which files ----------------------------------------------------------------------------------------------------

// facades     the CMP base folder (cmp_bNNNN.jpg and .png side by side, in ROOT or ROOT/base), or ROOT/PHASE_label and
//             ROOT/PHASE_img with files of equal names
// cityscapes  ROOT/PHASE_labels (*_labelIds.png, *_instanceIds.png) and ROOT/PHASE_images; city subfolders are searched too
// custom      label_dir, image_dir and instance_dir, files of equal names
// aligned     ROOT/PHASE, pictures of an even width: their left half is A, their right half B
// Except for the CMP base folder, subfolders belong to it: a name is the path below the folder, without the extension.
enum class DatasetLayout { facades, cityscapes, custom, aligned };

// Which half of an aligned picture is the input; the other is the photo.
enum class Half { none, left, right };

// What a file's name has before and behind the name of its pair: "a_seg.png" has the suffix "_seg".
struct Affixes {
  std::string prefix = {}, suffix = {};
  bool operator==(const Affixes&) const = default;
};

// Prints the text as a line of its own to standard error.
void print_note(const std::string& text);

struct DatasetOptions {
  DatasetLayout layout = DatasetLayout::facades;
  std::filesystem::path root = {};        // facades, cityscapes, aligned
  std::string phase = "train";            // folder prefix, or the name of the split
  std::filesystem::path split_file = {};  // CMP base folder: one stem a line. Empty: ROOT/split_PHASE.txt if there is one, else
                                          // the published split (test b0001-b0060, train b0061-b0378)
  std::filesystem::path label_dir = {}, image_dir = {}, instance_dir = {};  // custom; instance_dir may be empty
  Affixes label_affixes = {}, image_affixes = {}, instance_affixes = {};    // custom; folders may be one if these differ
  Half input_half = Half::left;                                             // aligned
  bool need_images = true;                                                  // false for generating: labels alone will do
  bool use_instances = false;  // cityscapes: look for *_instanceIds.png (custom: instance_dir says so)
  std::vector<std::filesystem::path> skip = {};                       // folders not to look into, such as the run's own
  std::function<void(const std::string&)> note = print_note;          // told what is left out without harm
};

struct Pair {
  std::string name = {};  // the common name: "cmp_b0001", "sub/a0"; in Unicode's composed form
  std::filesystem::path label = {};
  std::filesystem::path image = {}, instance = {};  // empty where not asked for; aligned: image is label
  Half label_half = Half::none;                     // aligned: the half of `label` that is the input
};

// All pairs of the dataset, sorted by name, at least one. asap::Error lists files without a partner and what keeps them
// from having one (a format that is not read, a link that leads nowhere, a constant ending of the names), folders that are
// missing or one and the same, names of a split that have no file or lead elsewhere, and two files competing for one name.
std::vector<Pair> list_pairs(const DatasetOptions& options);

// ---- from files to a sample -------------------------------------------------------------------------------------------

// How pictures reach the training size, crop_size x round(crop_size / aspect_ratio). Labels nearest, photos bicubic.
//   resize_and_crop           to load_size x round(load_size / aspect_ratio), then crop
//   crop                      crop only
//   scale_width               to width load_size, aspect kept, no crop; _and_crop: then crop
//   scale_shortside           shorter side to load_size, aspect kept, no crop; _and_crop: then crop
//   fixed                     to the training size
//   none                      each side to the nearest multiple of 32
//   native                    as it is; not to be had by name, since generate alone extends it to tiles (native_size.h)
enum class Preprocess {
  resize_and_crop,
  crop,
  scale_width,
  scale_width_and_crop,
  scale_shortside,
  scale_shortside_and_crop,
  fixed,
  none,
  native
};

// The mode of that name, as listed above; asap::Error lists the names.
Preprocess preprocess_from_name(const std::string& name);
const char* preprocess_name(Preprocess mode);

struct PreprocessOptions {
  Preprocess mode = Preprocess::resize_and_crop;
  int load_size = 286, crop_size = 256;
  double aspect_ratio = 1.0;            // width / height
  int label_nc = 13;                    // labels are 0 .. label_nc-1
  bool contain_dontcare_label = false;  // 255 becomes the class label_nc; otherwise 255 is an error
  bool no_one_hot = false;              // the label file is an RGB picture (SPEC: RGB-to-RGB)
  bool nearest_colour = false;                            // unknown colours are taken for the nearest known one
  std::shared_ptr<const LabelColours> colours = nullptr;  // if given, label files are pictures in these colours
};

// The random part of a sample. The default is the centre crop without mirroring, for evaluation.
struct SampleRandom {
  double crop_u = 0.5, crop_v = 0.5;  // position of the crop along x and y, in [0, 1)
  bool flip = false;
};

// The augmentation of sample `index` in `epoch`: a pure function of its arguments.
SampleRandom sample_random(uint64_t seed, int64_t epoch, int64_t index, bool allow_flip = true);

// The order in which an epoch visits 0 .. count-1 (Fisher-Yates, driven by seed and epoch alone).
std::vector<int64_t> sample_order(int64_t count, uint64_t seed, int64_t epoch);

struct Sample {
  std::string name;
  LabelMap label;     // [height][width] class indices; empty with no_one_hot
  Image label_rgb;    // with no_one_hot
  LabelMap instance;  // empty if the pair has none
  Image photo;        // RGB; empty if the pair has none

  int width() const { return label.empty() ? label_rgb.width : label.width; }
  int height() const { return label.empty() ? label_rgb.height : label.height; }
};

// Reads, checks, resizes, crops and mirrors one pair. asap::Error names the file: unreadable, a label outside the classes (with
// value and range), sizes that don't fit each other, a picture smaller than the crop.
Sample load_sample(const Pair& pair, const PreprocessOptions& options, const SampleRandom& random);

// sample.photo as floats in [-1, 1], [3][height][width]; asap::Error if there is no photo.
void photo_to_floats(const Sample& sample, float* chw);
// sample.label_rgb likewise.
void label_rgb_to_floats(const Sample& sample, float* chw);
// sample.label (or, below, sample.instance) as [height][width] int32.
void label_to_ints(const Sample& sample, int32_t* hw);
void instance_to_ints(const Sample& sample, int32_t* hw);

}  // namespace asap::train
