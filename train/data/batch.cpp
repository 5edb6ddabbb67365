// Samples to tensors and tensors to pictures. Declared in batch.h.
#include "train/data/batch.h"

#include <algorithm>

#include "train/data/instance_maps.h"
#include "train/pictures/picture_grid.h"

namespace asap::train {
namespace {

using asapnet::Batch;
using asapnet::Config;

constexpr int kGridGap = 4;  // pixels between the pictures of a grid

void check_samples(const std::vector<Sample>& samples, const Config& config) {
  ASAP_CHECK(!samples.empty(), "batch: expected at least one sample, got none");
  const Sample& first = samples.front();
  for (const Sample& s : samples) {
    ASAP_CHECK(s.width() == first.width() && s.height() == first.height(), "batch: ", s.name, " is ",
               size_text(s.width(), s.height()), ", but ", first.name, " is ", size_text(first.width(), first.height()),
               "; pictures of one batch need one size: take a --preprocess that crops, or --batch-size 1");
    ASAP_CHECK(!config.instance_channel() || !s.instance.empty(), "batch: the model takes an instance channel, but ",
               s.name, " has no instance map");
    ASAP_CHECK(s.photo.empty() == first.photo.empty(), "batch: one of ", first.name, " and ", s.name, " has no photo");
    ASAP_CHECK(!(config.no_one_hot ? s.label_rgb.empty() : s.label.empty()), "batch: ", s.name, " has no ",
               config.no_one_hot ? "picture as its label" : "class labels");
  }
  config.check_size(first.height(), first.width(), first.name);
}

// Class numbers, or with `rgb` pictures in [-1,1].
Tensor label_tensor(const std::vector<Sample>& samples, bool rgb) {
  const int64_t n = static_cast<int64_t>(samples.size()), h = samples[0].height(), w = samples[0].width();
  Tensor labels = rgb ? Tensor::empty({n, 3, h, w}) : Tensor::empty({n, h, w}, DType::i32);
  for (int64_t i = 0; i < n; ++i) {
    const Sample& sample = samples[static_cast<size_t>(i)];
    if (rgb) {
      image_to_floats(sample.label_rgb, labels.data<float>() + i * 3 * h * w);
    } else {
      std::copy(sample.label.values.begin(), sample.label.values.end(), labels.data<int32_t>() + i * h * w);
    }
  }
  return labels;
}

// Edges win if edges and distances are both wanted.
Tensor instance_tensor(const std::vector<Sample>& samples, const Config& config) {
  const int64_t n = static_cast<int64_t>(samples.size()), h = samples[0].height(), w = samples[0].width();
  Tensor instance = Tensor::empty({n, 1, h, w});
  for (int64_t i = 0; i < n; ++i) {
    const LabelMap& map = samples[static_cast<size_t>(i)].instance;
    const std::vector<float> values = config.no_instance_edge ? instance_distance(map) : instance_edges(map);
    std::copy(values.begin(), values.end(), instance.data<float>() + i * h * w);
  }
  return instance;
}

Tensor photo_tensor(const std::vector<Sample>& samples) {
  const int64_t n = static_cast<int64_t>(samples.size()), h = samples[0].height(), w = samples[0].width();
  Tensor image = Tensor::empty({n, 3, h, w});
  for (int64_t i = 0; i < n; ++i)
    image_to_floats(samples[static_cast<size_t>(i)].photo, image.data<float>() + i * 3 * h * w);
  return image;
}

}  // namespace

Batch make_batch(const std::vector<Sample>& samples, const Config& config, Device device) {
  check_samples(samples, config);
  Batch batch;
  batch.labels = label_tensor(samples, config.no_one_hot).to(device);
  if (config.instance_channel()) batch.instance = instance_tensor(samples, config).to(device);
  if (!samples.front().photo.empty()) batch.image = photo_tensor(samples).to(device);
  return batch;
}

Image to_image(const Tensor& x, int64_t index) {
  const Tensor picture = x.select(0, index).contiguous().to(Device::cpu);
  return image_from_floats(picture.data<float>(), static_cast<int>(picture.size(0)), static_cast<int>(picture.size(1)),
                           static_cast<int>(picture.size(2)));
}

Image picture_of(const Tensor& picture) {
  Image image(static_cast<int>(picture.size(2)), static_cast<int>(picture.size(1)), static_cast<int>(picture.size(3)));
  std::copy_n(picture.data<uint8_t>(), picture.numel(), image.pixels.begin());
  return image;
}

Image sample_grid(const std::vector<Sample>& samples, const std::vector<Image>& generated, const Config& config) {
  ASAP_CHECK(samples.size() == generated.size(), "sample_grid: expected one generated picture a sample, got ",
             generated.size(), " for ", samples.size());
  std::vector<std::vector<Image>> rows;
  for (size_t i = 0; i < samples.size(); ++i) {
    const Sample& s = samples[i];
    rows.push_back(
        {config.no_one_hot ? s.label_rgb : colorize(s.label, static_cast<int>(config.label_channels())), generated[i]});
    if (!s.photo.empty()) rows.back().push_back(s.photo);
  }
  return compose_grid(rows, kGridGap);
}

}  // namespace asap::train
