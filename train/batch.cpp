// Samples to tensors and tensors to pictures. Declared in batch.h.
#include "train/batch.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "train/instance_maps.h"

namespace asap::train {
namespace {

using asapnet::Batch;
using asapnet::Config;

constexpr int kGridGap = 4;  // pixels between the pictures of a grid

void check_samples(const std::vector<Sample>& samples, const Config& config) {
  ASAP_CHECK(!samples.empty(), "batch: expected at least one sample, came none");
  const Sample& first = samples.front();
  for (const Sample& s : samples) {
    ASAP_CHECK(s.width() == first.width() && s.height() == first.height(), "batch: ", s.name, " is ", size_text(s.width(), s.height()),
               ", but ", first.name, " is ", size_text(first.width(), first.height()),
               "; pictures of one batch need one size: choose a preprocess mode that crops, or batch size 1");
    ASAP_CHECK(!config.instance_channel() || !s.instance.empty(), "batch: the model takes an instance channel, but ", s.name,
               " has no instance map");
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
      label_rgb_to_floats(sample, labels.data<float>() + i * 3 * h * w);
    } else {
      label_to_ints(sample, labels.data<int32_t>() + i * h * w);
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
  for (int64_t i = 0; i < n; ++i) photo_to_floats(samples[static_cast<size_t>(i)], image.data<float>() + i * 3 * h * w);
  return image;
}

// Class k at hue k * golden angle, in four lightnesses: neighbouring numbers look different.
std::array<uint8_t, 3> class_colour(int32_t label) {
  const double hue = std::fmod(static_cast<double>(label) * 137.508, 360.0) / 60.0;
  const double value = 0.95 - 0.15 * (label % 4), saturation = 0.65;
  std::array<uint8_t, 3> rgb{};
  for (int c = 0; c < 3; ++c) {
    const double position = std::fmod(5.0 - 2.0 * c + hue, 6.0);
    const double channel = value - value * saturation * std::max(0.0, std::min({position, 4.0 - position, 1.0}));
    rgb[static_cast<size_t>(c)] = static_cast<uint8_t>(channel * 255);
  }
  return rgb;
}

Image three_channels(const Image& image) {
  if (image.channels == 3) return image;
  Image rgb(image.width, image.height, 3);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x)
      for (int c = 0; c < 3; ++c) rgb.at(x, y, c) = image.at(x, y, std::min(c, image.channels - 1));
  return rgb;
}

void paste(const Image& picture, int x0, int y0, Image& canvas) {
  const Image rgb = three_channels(picture);
  for (int y = 0; y < rgb.height; ++y) {
    std::copy(rgb.row(y), rgb.row(y) + static_cast<size_t>(rgb.width) * 3, canvas.row(y0 + y) + static_cast<size_t>(x0) * 3);
  }
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

Image label_picture(const Sample& sample) {
  if (sample.label.empty()) return sample.label_rgb;
  Image picture(sample.width(), sample.height(), 3);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const auto colour = class_colour(sample.label.at(x, y));
      std::copy(colour.begin(), colour.end(), &picture.at(x, y, 0));
    }
  }
  return picture;
}

Image sample_grid(const std::vector<Sample>& samples, const std::vector<Image>& generated) {
  ASAP_CHECK(samples.size() == generated.size() && !samples.empty(), "sample_grid: expected one generated picture a sample, came ",
             generated.size(), " for ", samples.size());
  std::vector<std::vector<Image>> rows;
  int width = 0, height = -kGridGap;
  for (size_t i = 0; i < samples.size(); ++i) {
    rows.push_back({label_picture(samples[i]), generated[i]});
    if (!samples[i].photo.empty()) rows.back().push_back(samples[i].photo);
    const int columns = static_cast<int>(rows.back().size());
    width = std::max(width, columns * (samples[i].width() + kGridGap) - kGridGap);
    height += samples[i].height() + kGridGap;
  }
  Image canvas(width, height, 3, 255);
  int y = 0;
  for (const auto& row : rows) {
    for (int column = 0; column < static_cast<int>(row.size()); ++column) {
      paste(row[static_cast<size_t>(column)], column * (row[0].width + kGridGap), y, canvas);
    }
    y += row[0].height + kGridGap;
  }
  return canvas;
}

}  // namespace asap::train
