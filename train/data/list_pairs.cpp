// Which folders each dataset layout has and how their files are named. See list_pairs.h; the matching itself is
// match_files.cpp, the facades layout list_facades.cpp.
#include "train/data/list_pairs.h"

#include <algorithm>
#include <map>
#include <set>

#include "tensor/error.h"
#include "train/data/list_facades.h"
#include "train/data/list_index.h"
#include "train/data/match_files.h"
#include "train/files/file_names.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

// ---- cityscapes ----

// "aachen/aachen_000000_000019_gtFine_labelIds.png" -> "aachen_000000_000019": up to the third underscore.
std::string city_frame(const std::string& relative) {
  const std::string stem = last_component(without_extension(relative));
  size_t end = 0;
  for (int i = 0; i < 3 && end != std::string::npos; ++i) end = stem.find('_', end ? end + 1 : 0);
  return stem.substr(0, end);
}

std::string city_of(const std::string& frame) { return frame.substr(0, frame.find('_')); }

Side scan_cityscapes(const char* one, const fs::path& folder, const std::string& what, const std::string& tail,
                     const std::vector<fs::path>& skip) {
  const auto name_of = [&](const std::string& relative) {
    return without_extension(relative).ends_with(tail) ? city_frame(relative) : std::string();
  };
  const auto beside_them = [](const std::string& relative) {
    const std::string stem = without_extension(relative);
    return stem.ends_with("_color") || stem.ends_with("Ids");
  };
  return {.one = one,
          .affixes = {.suffix = tail},
          .scan = scan_folder(folder, {.what = what, .name_of = name_of, .passes_over = beside_them, .skip = skip})};
}

// Cities by their numbers of files.
std::map<std::string, int64_t> cities(const FolderScan& scan) {
  std::map<std::string, int64_t> counts;
  for (size_t i = 0; i < scan.files.size(); ++i) ++counts[city_of(std::string(scan.files.name(i)))];
  for (const auto& [frame, stranger] : scan.strangers) ++counts[city_of(frame)];
  return counts;
}

void check_cities(const Side& labels, const Side& images) {
  std::string complaint;
  const auto compare = [&](const Side& a, const Side& b) {
    const auto others = cities(b.scan);
    if (others.empty()) return;  // said better by match_files
    for (const auto& [city, count] : cities(a.scan))
      if (!others.contains(city))
        complaint +=
            str("; the city ", city, " has ", count, " ", a.one, "(s), but nothing in ", b.scan.folder.string());
  };
  compare(labels, images);
  compare(images, labels);
  ASAP_CHECK(complaint.empty(), "dataset: expected the same cities in ", labels.scan.folder.string(), " and ",
             images.scan.folder.string(), complaint);
}

PairList list_cityscapes(const DatasetOptions& options) {
  check_folder(options.root, "the cityscapes dataset");
  const fs::path labels = options.root / (options.phase + "_labels"),
                 images = options.root / (options.phase + "_images");
  Side label_side = scan_cityscapes("label", labels, "labels", "_labelIds", options.skip);
  std::optional<Side> image_side, instance_side;
  if (options.use_instances)
    instance_side = scan_cityscapes("instance map", labels, "instance maps", "_instanceIds", options.skip);
  if (options.need_images) {
    check_folder(images, "photos");
    check_two_folders(labels, labels.string(), images, images.string());
    image_side = scan_cityscapes("image", images, "photos", "", options.skip);
    if (!label_side.scan.files.empty()) check_cities(label_side, *image_side);
  }
  if (instance_side) instance_side->scan.unnamed.clear();  // the labels' scan has told of them
  return match_files(std::move(label_side), std::move(image_side), std::move(instance_side), options.note);
}

// ---- custom ----

void check_custom_folders(const DatasetOptions& o) {
  struct Role {
    const char* flag;
    const fs::path& folder;
    const Affixes& affixes;
  };
  const Role roles[] = {{"--label-dir", o.label_dir, o.label_affixes},
                        {"--image-dir", o.need_images ? o.image_dir : fs::path(), o.image_affixes},
                        {"--instance-dir", o.instance_dir, o.instance_affixes}};
  for (const Role& a : roles)
    for (const Role& b : roles)
      if (&a < &b && !a.folder.empty() && !b.folder.empty() && a.affixes == b.affixes)
        check_two_folders(
            a.folder, a.flag, b.folder, b.flag,
            "expected two, or endings of their names that tell them apart (--label-suffix, --image-suffix)");
}

bool one_folder(const fs::path& a, const fs::path& b) {
  std::error_code ignored;
  return !a.empty() && !b.empty() && fs::equivalent(a, b, ignored);
}

PairList list_custom(const DatasetOptions& o) {
  check_folder(o.label_dir, "labels (--label-dir)");
  if (o.need_images) check_folder(o.image_dir, "photos (--image-dir)");
  check_custom_folders(o);
  const auto scan = [&](const char* one, const char* option, const fs::path& folder, const std::string& what,
                        const Affixes& affixes) {
    std::vector<Affixes> rivals;
    if (one_folder(folder, o.label_dir)) rivals.push_back(o.label_affixes);
    if (one_folder(folder, o.image_dir)) rivals.push_back(o.image_affixes);
    if (one_folder(folder, o.instance_dir)) rivals.push_back(o.instance_affixes);
    std::vector<fs::path> skip = o.skip;
    skip.insert(skip.end(), {o.label_dir, o.image_dir, o.instance_dir});  // inside one another, each keeps its own
    Side side = scan_side(one, folder, what, affixes, rivals, skip);
    side.option = option;
    return side;
  };
  std::optional<Side> images, instances;
  if (o.need_images) images = scan("image", "--image", o.image_dir, "photos (--image-dir)", o.image_affixes);
  if (!o.instance_dir.empty())
    instances =
        scan("instance map", "--instance", o.instance_dir, "instance maps (--instance-dir)", o.instance_affixes);
  return match_files(scan("label", "--label", o.label_dir, "labels (--label-dir)", o.label_affixes), std::move(images),
                     std::move(instances), o.note);
}

// ---- aligned ----

PairList list_aligned(const DatasetOptions& options) {
  check_folder(options.root, "the aligned dataset");
  const fs::path folder = options.root / options.phase;
  Side side = scan_side("A|B picture", folder, "A|B pictures", {}, {}, options.skip);
  const std::string lost = unusable(side.scan);
  const PairList whole = match_files(std::move(side), {}, {}, options.note);
  ASAP_CHECK(!options.need_images || lost.empty(), "dataset: ", lost);  // to generate, their reader says so
  PairList pairs;
  for (Pair pair : whole) {
    pair.label_half = options.input_half;
    if (options.need_images) pair.image = pair.label;
    pairs.push_back(pair);
  }
  pairs.folders = whole.folders;
  return pairs;
}

PairList list_layout(const DatasetOptions& options) {
  switch (options.layout) {
    case DatasetLayout::facades: return list_facades(options);
    case DatasetLayout::cityscapes: return list_cityscapes(options);
    case DatasetLayout::custom: return list_custom(options);
    case DatasetLayout::aligned: return list_aligned(options);
  }
  fail("list_pairs: unknown dataset layout");
}

}  // namespace

PairList list_pairs(const DatasetOptions& options) {
  const ListIndex index(options);
  if (std::optional<PairList> known = index.read()) return std::move(*known);
  bool told = false;
  DatasetOptions listening = options;
  listening.note = [&](const std::string& text) {
    told = true;
    options.note(text);
  };
  PairList pairs = list_layout(listening);
  if (!told) index.write(pairs);  // what there is to tell is told every time
  return pairs;
}

}  // namespace asap::train
