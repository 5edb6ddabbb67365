// A folder of labelled pictures, as classifiers are trained on: FOLDER/CLASS/picture.jpg. With prefetcher.h:
//   const ImageFolder folder = list_image_folder("pictures");
//   Prefetcher<LabelledPicture> loader(std::ssize(folder.pictures), [&](int64_t epoch, int64_t i) {
//     return load_labelled_picture(folder.pictures[i], 64, sample_random(seed, epoch, i));
//   }, {.batch_size = 32, .seed = seed});
//   loader.start_epoch(1);
//   while (auto batch = loader.next()) { const PictureBatch x = to_tensors(*batch); ... }
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "train/data/load_sample.h"
#include "train/pictures/image.h"

namespace asap::train {

struct LabelledFile {
  std::filesystem::path path;
  int32_t label = 0;  // of ImageFolder::classes
};

struct ImageFolder {
  std::vector<std::string> classes;    // names of the subfolders, sorted
  std::vector<LabelledFile> pictures;  // class by class, sorted by name; those of deeper folders belong to the class above
};

// asap::Error naming the folder or file: no such folder, no subfolder with pictures, a picture outside of the subfolders, one that is not read.
ImageFolder list_image_folder(const std::filesystem::path& folder);

struct LabelledPicture {
  Image picture;  // RGB, size x size
  int32_t label = 0;
};

// Its shorter side to `size` (bicubic), then the crop that `random` says, mirrored or not; by default the centre.
LabelledPicture load_labelled_picture(const LabelledFile& file, int size, const SampleRandom& random = {});

struct PictureBatch {
  Tensor pictures;  // f32 [N,3,size,size] in [-1,1]
  Tensor labels;    // i32 [N]
};
// asap::Error for a batch of none, or of different sizes.
PictureBatch to_tensors(const std::vector<LabelledPicture>& batch);

}  // namespace asap::train
