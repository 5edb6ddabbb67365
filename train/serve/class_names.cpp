// Declared in class_names.h.
#include "train/serve/class_names.h"

#include <sstream>

#include "train/files/user_text.h"
#include "train/files/whole_files.h"

namespace asap::train {
namespace {

// CMP Facade Database, label_names.txt.
const std::vector<std::string> kCmpNames{"unused",  "background", "facade", "window",  "door",   "cornice", "sill",
                                         "balcony", "blind",      "deco",   "molding", "pillar", "shop"};
// Cityscapes, labels.py, by id.
const std::vector<std::string> kCityscapesNames{"unlabelled", "ego vehicle",   "rectification border",
                                                "out of roi", "static",        "dynamic",
                                                "ground",     "road",          "sidewalk",
                                                "parking",    "rail track",    "building",
                                                "wall",       "fence",         "guard rail",
                                                "bridge",     "tunnel",        "pole",
                                                "pole group", "traffic light", "traffic sign",
                                                "vegetation", "terrain",       "sky",
                                                "person",     "rider",         "car",
                                                "truck",      "bus",           "caravan",
                                                "trailer",    "train",         "motorcycle",
                                                "bicycle",    "licence plate"};

std::vector<std::string> numbered(int64_t classes) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < classes; ++i) names.push_back(str("class ", i));
  return names;
}

}  // namespace

bool has_cmp_classes(const Options& options) {
  return options.train.dataset_mode == "facades" && options.train.palette.empty() &&
         options.model.label_nc == std::ssize(kCmpNames);
}

std::vector<std::string> class_names(const Options& options) {
  if (has_cmp_classes(options)) return kCmpNames;
  const std::string& dataset = options.train.dataset_mode;
  const bool published = dataset == "cityscapes" || dataset == "facades";  // the latter where nothing is known
  if (published && options.model.label_nc == std::ssize(kCityscapesNames)) return kCityscapesNames;
  return numbered(options.model.label_nc);
}

std::vector<std::string> read_class_names(const std::filesystem::path& file, int64_t classes) {
  std::vector<std::string> names = numbered(classes);
  std::istringstream text(file_text(file));
  int64_t line = 0, last = 0;
  for (std::string name; std::getline(text, name); ++line) {
    const size_t begin = name.find_first_not_of(" \t\r"), end = name.find_last_not_of(" \t\r");
    if (begin == std::string::npos) continue;
    last = line + 1;
    if (line < classes) names[size_t(line)] = terminal_safe(std::string_view(name).substr(begin, end - begin + 1));
  }
  ASAP_CHECK(last <= classes, file.string(), ": expected a name a line for each of the ", classes,
             " classes, from class 0 on, found ", last, " lines");
  return names;
}

}  // namespace asap::train
