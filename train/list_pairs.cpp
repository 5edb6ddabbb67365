// list_pairs: walks the folders of each dataset layout and matches files by name. See dataset.h; next: load_sample.cpp.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "tensor/error.h"
#include "train/dataset.h"
#include "train/files.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;
using FilesByName = std::map<std::string, fs::path>;  // sorted, as list_pairs promises

bool is_picture(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg" || extension == ".bmp";
}

bool ends_with(const std::string& text, const std::string& tail) {
  return text.size() >= tail.size() && text.compare(text.size() - tail.size(), tail.size(), tail) == 0;
}

// "a, b, c and 7 more"
std::string enumerate(const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kShown) text += str(" and ", names.size() - kShown, " more");
  return text;
}

void check_folder(const fs::path& folder, const std::string& what) {
  ASAP_CHECK(!folder.empty(), "dataset: expected a folder of ", what, ", none was given");
  std::error_code error;
  const auto status = fs::status(folder, error);
  ASAP_CHECK(fs::exists(status), "dataset: the folder of ", what, ", ", folder.string(), ", does not exist");
  ASAP_CHECK(fs::is_directory(status), "dataset: expected a folder of ", what, ", found a file: ", folder.string());
}

// The pictures below `folder` by the name that `name_of` gives them; "" leaves a file out.
FilesByName scan(const fs::path& folder, const std::string& what, bool recursive,
                 const std::function<std::string(const fs::path&)>& name_of) {
  check_folder(folder, what);
  FilesByName files;
  const auto consider = [&](const fs::directory_entry& entry) {
    const fs::path& path = entry.path();
    if (path.filename().string().starts_with('.') || !entry.is_regular_file() || !is_picture(path)) return;
    const std::string name = name_of(path);
    if (name.empty()) return;
    const auto [other, is_new] = files.emplace(name, path);
    if (!is_new) {
      const auto both = std::minmax({other->second.string(), path.string()});
      fail("dataset: two files are called ", name, ": ", both.first, " and ", both.second, "; expected one");
    }
  };
  try {
    if (recursive)
      for (const auto& entry : fs::recursive_directory_iterator(folder)) consider(entry);
    else
      for (const auto& entry : fs::directory_iterator(folder)) consider(entry);
  } catch (const fs::filesystem_error& e) {
    fail("dataset: the folder of ", what, ", ", folder.string(), ", cannot be listed (", e.code().message(), ")");
  }
  return files;
}

FilesByName scan_stems(const fs::path& folder, const std::string& what) {
  return scan(folder, what, false, [](const fs::path& p) { return p.stem().string(); });
}

// Names of `files` that `others` lacks.
std::vector<std::string> without_partner(const FilesByName& files, const FilesByName& others) {
  std::vector<std::string> names;
  for (const auto& [name, path] : files)
    if (!others.contains(name)) names.push_back(path.filename().string());
  return names;
}

// Matches labels with images and instances (null: not asked for). Images without a label are an error too: a typing slip in a
// folder name would otherwise train on a part of the data.
std::vector<Pair> match(const FilesByName& labels, const FilesByName* images, const FilesByName* instances,
                        const fs::path& where) {
  ASAP_CHECK(!labels.empty(), "dataset: expected label files, found none in ", where.string());
  std::string complaint;
  const auto add = [&](const std::vector<std::string>& names, const char* what) {
    if (!names.empty()) complaint += str("; ", names.size(), " ", what, ": ", enumerate(names));
  };
  if (images) {
    add(without_partner(labels, *images), "label(s) without an image");
    add(without_partner(*images, labels), "image(s) without a label");
  }
  if (instances) add(without_partner(labels, *instances), "label(s) without an instance map");
  ASAP_CHECK(complaint.empty(), "dataset: expected files in pairs of equal names in ", where.string(), complaint);
  std::vector<Pair> pairs;
  for (const auto& [name, label] : labels)
    pairs.push_back({name, label, images ? images->at(name) : fs::path(), instances ? instances->at(name) : fs::path()});
  return pairs;
}

// ---- facades ----

// Stems, one a line; blank lines, # comments, extensions (.jpg, .png) and Windows line ends are accepted.
std::vector<std::string> read_split(const fs::path& file) {
  const auto bytes = read_file(file);
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (std::string line; std::getline(text, line);) {
    line = line.substr(0, line.find('#'));
    const size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
    if (first == std::string::npos) continue;
    const fs::path entry = line.substr(first, last - first + 1);
    const std::string name = is_picture(entry) ? entry.stem().string() : entry.string();
    ASAP_CHECK(seen.insert(name).second, file.string(), ": expected every name once, found ", name, " twice");
    names.push_back(name);
  }
  ASAP_CHECK(!names.empty(), file.string(), ": expected names of pictures, one a line, found none");
  return names;
}

std::vector<std::string> published_split(const std::string& phase) {
  ASAP_CHECK(phase == "train" || phase == "test", "dataset: the published facades split has the phases train and test, but not '",
             phase, "'; give a split file");
  const int first = phase == "test" ? 1 : 61, last = phase == "test" ? 60 : 378;
  std::vector<std::string> names;
  for (int i = first; i <= last; ++i) {
    char name[16];
    std::snprintf(name, sizeof name, "cmp_b%04d", i);
    names.push_back(name);
  }
  return names;
}

std::vector<Pair> list_cmp_base(const DatasetOptions& options, const fs::path& base) {
  const fs::path own_split = options.root / ("split_" + options.phase + ".txt");
  const bool own = options.split_file.empty() && fs::exists(own_split);
  const bool published = options.split_file.empty() && !own;
  const auto names = published ? published_split(options.phase) : read_split(own ? own_split : options.split_file);

  std::vector<Pair> pairs;
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    Pair pair{name, base / (name + ".png"), options.need_images ? base / (name + ".jpg") : fs::path(), {}};
    for (const fs::path& file : {pair.label, pair.image})
      if (!file.empty() && !fs::exists(file)) missing.push_back(file.filename().string());
    pairs.push_back(std::move(pair));
  }
  ASAP_CHECK(missing.empty(), "dataset: ", base.string(), " lacks ", missing.size(), " file(s) of the ",
             published ? "published split (give a split file to use another)" : "split file", ": ", enumerate(missing));
  std::sort(pairs.begin(), pairs.end(), [](const Pair& a, const Pair& b) { return a.name < b.name; });
  return pairs;
}

bool holds_cmp_base(const fs::path& folder) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("cmp_") && ends_with(name, ".png")) return true;
  }
  return false;
}

std::vector<Pair> list_facades(const DatasetOptions& options) {
  check_folder(options.root, "the facades dataset");
  const fs::path labels = options.root / (options.phase + "_label"), images = options.root / (options.phase + "_img");
  if (fs::exists(labels)) {
    const FilesByName label_files = scan_stems(labels, "labels");
    const FilesByName image_files = options.need_images ? scan_stems(images, "photos") : FilesByName();
    return match(label_files, options.need_images ? &image_files : nullptr, nullptr, options.root);
  }
  for (const fs::path& base : {options.root, options.root / "base"})
    if (holds_cmp_base(base)) return list_cmp_base(options, base);
  fail("dataset: expected the CMP base pictures (cmp_bNNNN.jpg and .png) or the folders ", options.phase, "_label and ",
       options.phase, "_img in ", options.root.string(), ", found neither");
}

// ---- cityscapes ----

// "aachen_000000_000019_gtFine_labelIds.png" -> "aachen_000000_000019": up to the third underscore.
std::string city_frame(const fs::path& path) {
  const std::string stem = path.stem().string();
  size_t end = 0;
  for (int i = 0; i < 3 && end != std::string::npos; ++i) end = stem.find('_', end ? end + 1 : 0);
  return stem.substr(0, end);
}

std::vector<Pair> list_cityscapes(const DatasetOptions& options) {
  const fs::path labels = options.root / (options.phase + "_labels"), images = options.root / (options.phase + "_images");
  const auto with_tail = [](const char* tail) {
    return [tail](const fs::path& p) { return ends_with(p.filename().string(), tail) ? city_frame(p) : std::string(); };
  };
  const FilesByName label_files = scan(labels, "labels", true, with_tail("_labelIds.png"));
  const FilesByName image_files = options.need_images ? scan(images, "photos", true, city_frame) : FilesByName();
  const FilesByName instance_files =
      options.use_instances ? scan(labels, "labels", true, with_tail("_instanceIds.png")) : FilesByName();
  return match(label_files, options.need_images ? &image_files : nullptr, options.use_instances ? &instance_files : nullptr,
               options.root);
}

// ---- custom ----

std::vector<Pair> list_custom(const DatasetOptions& options) {
  const FilesByName labels = scan_stems(options.label_dir, "labels");
  const FilesByName images = options.need_images ? scan_stems(options.image_dir, "photos") : FilesByName();
  const bool instances = !options.instance_dir.empty();
  const FilesByName instance_files = instances ? scan_stems(options.instance_dir, "instance maps") : FilesByName();
  return match(labels, options.need_images ? &images : nullptr, instances ? &instance_files : nullptr, options.label_dir);
}

}  // namespace

std::vector<Pair> list_pairs(const DatasetOptions& options) {
  switch (options.layout) {
    case DatasetLayout::facades: return list_facades(options);
    case DatasetLayout::cityscapes: return list_cityscapes(options);
    case DatasetLayout::custom: return list_custom(options);
  }
  fail("list_pairs: unknown dataset layout");
}

}  // namespace asap::train
