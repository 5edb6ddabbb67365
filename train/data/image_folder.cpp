// Listing, loading and batching of labelled pictures. Declared in image_folder.h.
#include "train/data/image_folder.h"

#include <algorithm>
#include <cmath>

#include "train/data/folder_scan.h"
#include "train/pictures/image_files.h"
#include "train/pictures/resize.h"

namespace asap::train {

ImageFolder list_image_folder(const std::filesystem::path& folder) {
  const FolderScan scan = scan_folder(folder, {.what = "pictures", .name_of = [](const std::string& path) { return path; }});
  ASAP_CHECK(scan.strangers.empty(), scan.strangers.begin()->second.path.string(), ": ", scan.strangers.begin()->second.reason);
  ImageFolder result;
  for (size_t i = 0; i < scan.files.size(); ++i) {  // in the order of the names
    const std::string name(scan.files.name(i));
    const size_t slash = name.find('/');
    ASAP_CHECK(slash != std::string::npos, scan.files.path(i), ": lies in no class; expected ", folder.string(), "/CLASS/", name);
    const std::string label = name.substr(0, slash);
    if (std::find(result.classes.begin(), result.classes.end(), label) == result.classes.end()) result.classes.push_back(label);
  }
  std::sort(result.classes.begin(), result.classes.end());
  for (size_t i = 0; i < scan.files.size(); ++i) {
    const std::string_view name = scan.files.name(i);
    const auto label = std::find(result.classes.begin(), result.classes.end(), name.substr(0, name.find('/')));
    result.pictures.push_back({scan.files.path(i), static_cast<int32_t>(label - result.classes.begin())});
  }
  ASAP_CHECK(!result.pictures.empty(), folder.string(), ": expected pictures in subfolders, one for each class, found none");
  return result;
}

LabelledPicture load_labelled_picture(const LabelledFile& file, int size, const SampleRandom& random) {
  ASAP_CHECK(size > 0, "load_labelled_picture: expected a positive size, got ", size);
  Image picture = read_photo(file.path);
  const double scale = static_cast<double>(size) / std::min(picture.width, picture.height);
  const auto scaled = [&](int side) { return std::max(size, static_cast<int>(std::lround(side * scale))); };
  picture = resize_bicubic(picture, scaled(picture.width), scaled(picture.height));
  const auto first = [&](double share, int side) { return static_cast<int>(share * (side - size + 1)); };
  picture = crop(picture, first(random.crop_u, picture.width), first(random.crop_v, picture.height), size, size);
  if (random.flip) flip_horizontally(picture);
  return {std::move(picture), file.label};
}

PictureBatch to_tensors(const std::vector<LabelledPicture>& batch) {
  ASAP_CHECK(!batch.empty(), "to_tensors: expected pictures, got none");
  const Image& first = batch[0].picture;
  const int64_t n = std::ssize(batch), numbers = int64_t{first.channels} * first.height * first.width;
  std::vector<int32_t> labels;
  PictureBatch result{.pictures = Tensor::empty({n, first.channels, first.height, first.width}), .labels = {}};
  for (const LabelledPicture& one : batch) {
    ASAP_CHECK(one.picture.width == first.width && one.picture.height == first.height, "to_tensors: expected pictures of ",
               size_text(first.width, first.height), ", got ", size_text(one.picture.width, one.picture.height));
    image_to_floats(one.picture, result.pictures.data<float>() + std::ssize(labels) * numbers);
    labels.push_back(one.label);
  }
  result.labels = Tensor::from(labels, {n});
  return result;
}

}  // namespace asap::train
