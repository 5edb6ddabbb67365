// How a pair of files becomes a sample: read, checked, resized, cropped and mirrored, and the random numbers behind that.
// Sits on list_pairs.h, image_files.h and resize.h. Next: batch.h, prefetch_loader.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/data/list_pairs.h"
#include "train/pictures/image.h"

namespace asap::train {

class LabelColours;  // label_colours.h

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
  bool no_one_hot = false;              // the label file is an RGB picture (docs/asapnet.md, Configuration)
  bool nearest_colour = false;          // unknown colours are taken for the nearest known one
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

}  // namespace asap::train
