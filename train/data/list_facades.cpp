// The CMP base folder and the published folders for facades. Declared in list_facades.h; next: list_pairs.cpp.
#include "train/data/list_facades.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

#include "tensor/error.h"
#include "train/data/match_files.h"
#include "train/files/file_names.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/pictures/image_files.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

// A name of a split as a path below the base folder, without the extension of a picture.
std::string split_name(const std::string& line, const fs::path& file) {
  const fs::path entry = fs::path(line).lexically_normal();
  const bool outside = entry.is_absolute() || (!entry.empty() && *entry.begin() == "..");
  ASAP_CHECK(!outside && entry.has_filename(), file.string(),
             ": expected names of pictures in the folder of the data, found ", line, ", which leads elsewhere");
  return composed(picture_kind(entry) == PictureKind::none ? entry.string() : without_extension(entry.string()));
}

// Stems, one a line; blank lines, # comments, extensions (.jpg, .png) and Windows line ends are accepted.
std::vector<std::string> read_split(const fs::path& file) {
  const auto bytes = read_file(file);
  std::string all(bytes.begin(), bytes.end());
  if (all.starts_with("\xef\xbb\xbf")) all.erase(0, 3);  // a byte order mark
  std::istringstream text(all);
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (std::string line; std::getline(text, line);) {
    line = line.substr(0, line.find('#'));
    const size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
    if (first == std::string::npos) continue;
    const std::string name = split_name(line.substr(first, last - first + 1), file);
    ASAP_CHECK(seen.insert(name).second, file.string(), ": expected every name once, found ", name, " twice");
    names.push_back(name);
  }
  ASAP_CHECK(!names.empty(), file.string(), ": expected names of pictures, one a line, found none");
  return names;
}

constexpr int kFirstTrain = 61, kLastTrain = 378;

std::vector<std::string> published_split(const std::string& phase) {
  ASAP_CHECK(phase == "train" || phase == "test",
             "dataset: the published facades split has the phases train and test, but not '", phase,
             "'; give a split file");
  std::vector<std::string> names;
  for (int i = phase == "test" ? 1 : kFirstTrain; i <= (phase == "test" ? kFirstTrain - 1 : kLastTrain); ++i)
    names.push_back(cmp_name(i));
  return names;
}

// "cmp_b0001.PNG" -> "cmp_b0001.png", "x.jpeg" -> "x.jpg": what the base folder's files are looked up by.
std::string label_or_photo(const std::string& relative) {
  const std::string format = picture_format(relative);
  const std::string extension = format == "PNG"    ? ".png"
                                : format == "JPEG" ? ".jpg"
                                                   : fs::path(relative).extension().string();
  return without_extension(relative) + extension;
}

// What lies in the place of a file that is missing, if anything does: in brackets, for behind its name.
std::string instead_of(const std::string& file, const FolderScan& scan) {
  const std::string stem = without_extension(file);
  for (const auto& [name, stranger] : scan.strangers)
    if (without_extension(name) == stem) return " (" + stranger.path.filename().string() + ": " + stranger.reason + ")";
  for (size_t i = 0; i < scan.files.size(); ++i)
    if (case_folded(std::string(scan.files.name(i))) == case_folded(file))
      return " (" + fs::path(scan.files.relative(i)).filename().string() + " is there)";
  return "";
}

// Pictures that neither phase of the published split has.
void note_beyond_published(const FolderScan& scan, const DatasetOptions& options) {
  std::set<std::string> beyond;
  for (size_t i = 0; i < scan.files.size(); ++i) beyond.insert(without_extension(std::string(scan.files.name(i))));
  for (int i = 1; i <= kLastTrain; ++i) beyond.erase(cmp_name(i));
  if (!beyond.empty())
    options.note(str("left out: ", beyond.size(), " name(s) in ", scan.folder.string(),
                     " that the published split does not have: ", enumerate({beyond.begin(), beyond.end()}),
                     "; --split-file FILE gives another split"));
}

PairList list_cmp_base(const DatasetOptions& options, const fs::path& base) {
  const fs::path own_split = options.root / ("split_" + options.phase + ".txt");
  const bool own = options.split_file.empty() && fs::exists(own_split);
  const bool published = options.split_file.empty() && !own;
  const auto names = published ? published_split(options.phase) : read_split(own ? own_split : options.split_file);
  const FolderScan scan =
      scan_folder(base, {.what = "the facades dataset", .name_of = label_or_photo, .skip = options.skip});

  std::vector<Pair> pairs;
  std::vector<std::string> missing;
  const auto find = [&](const std::string& name) {
    if (const size_t found = scan.files.find(name); found != FoundFiles::npos) return fs::path(scan.files.path(found));
    missing.push_back(name + (missing.size() < 8 ? instead_of(name, scan) : ""));
    return fs::path();
  };
  for (const std::string& name : names) {
    const fs::path label = find(name + ".png");
    pairs.push_back({name, label, options.need_images ? find(name + ".jpg") : fs::path(), {}});
  }
  ASAP_CHECK(missing.empty(), "dataset: ", base.string(), " lacks ", missing.size(), " file(s) of the ",
             published ? "published split (give a split file to use another)" : "split file", ": ", enumerate(missing));
  if (published) note_beyond_published(scan, options);
  std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.name < b.name; });
  PairList list = pairs;
  if (!scan.links && scan.strangers.empty()) list.folders = scan.visited;
  return list;
}

bool holds_cmp_base(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("cmp_") && picture_kind(name) != PictureKind::none) return true;
  }
  return false;
}

PairList list_phase_folders(const DatasetOptions& options, const fs::path& labels, const fs::path& images) {
  ASAP_CHECK(options.split_file.empty(), "dataset: --split-file ", options.split_file.string(), " has no effect, as ",
             labels.string(), " holds the ", options.phase, " phase by itself; leave it out");
  if (holds_cmp_base(options.root))
    options.note("left out: the CMP pictures in " + options.root.string() + ", as it has the folder " +
                 labels.string());
  Side label_side = scan_side("label", labels, "labels", {}, {}, options.skip);
  if (!options.need_images) return match_files(std::move(label_side), {}, {}, options.note);
  check_folder(images, "photos");
  check_two_folders(labels, labels.string(), images, images.string());
  Side image_side = scan_side("image", images, "photos", {}, {}, options.skip);
  label_side.option = "--label";
  label_side.instead = "--dataset custom --label-dir " + shell_quoted(labels.string());
  image_side.option = "--image";
  image_side.instead = "--image-dir " + shell_quoted(images.string());
  return match_files(std::move(label_side), std::move(image_side), {}, options.note);
}

// What else there is, for a folder that is not as expected.
std::string other_layouts(const DatasetOptions& options) {
  if (fs::is_directory(options.root / options.phase))
    return "; if " + (options.root / options.phase).string() +
           " holds pictures A|B side by side, add --dataset aligned";
  if (fs::is_directory(options.root / (options.phase + "_img")))
    return "; the photos are there, their label maps are not";
  if (fs::is_directory(options.root / (options.phase + "_labels")))
    return "; for Cityscapes' folders add --dataset cityscapes";
  return "";
}

}  // namespace

std::string cmp_name(int number) {
  char name[16];
  std::snprintf(name, sizeof name, "cmp_b%04d", number);
  return name;
}

PairList list_facades(const DatasetOptions& options) {
  check_folder(options.root, "the facades dataset");
  const fs::path labels = options.root / (options.phase + "_label"), images = options.root / (options.phase + "_img");
  if (fs::exists(labels)) return list_phase_folders(options, labels, images);
  for (const fs::path& base : {options.root, options.root / "base"})
    if (holds_cmp_base(base)) return list_cmp_base(options, base);
  fail("dataset: expected the CMP base pictures (cmp_bNNNN.jpg and .png) or the folders ", options.phase, "_label and ",
       options.phase, "_img in ", options.root.string(), ", found neither", other_layouts(options));
}

}  // namespace asap::train
