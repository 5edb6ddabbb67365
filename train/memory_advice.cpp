// Estimates of a training run's memory. Declared in memory_advice.h.
#include "train/memory_advice.h"

#include <vector>

#include "asapnet/lowres_stream.h"

namespace asap::train {
namespace {

using asapnet::Config;

constexpr double kBytesPerPixel = 4.5 * 1024;
constexpr double kVggBytes = 52e6;         // 13 million parameters
constexpr double kShareForTensors = 0.92;  // the rest is the driver's, and lost between blocks
constexpr double kMib = 1024.0 * 1024.0;

// Convolutions' weights; norms and biases are too few to count.
double parameters(const Config& c) {
  double count = static_cast<double>(c.input_channels() * c.lr_width * 9);
  const auto width = static_cast<double>(c.lr_width), most = static_cast<double>(c.lr_max_width);
  for (int64_t factor = 2; factor <= c.learned_ds_factor; factor *= 2) {
    count += 9 * width * (factor == c.learned_ds_factor ? most : width);
  }
  count += 9 * most * most * static_cast<double>(c.lr_depth) + most * static_cast<double>(asapnet::phi_channels(c));
  double channels = static_cast<double>(c.ndf);
  for (int64_t layer = 1; layer < c.n_layers_D; ++layer) {
    const double out = std::min(2 * channels, static_cast<double>(c.ndf_max));
    count += 16 * channels * out * static_cast<double>(c.num_D);
    channels = out;
  }
  return count;
}

std::vector<int64_t> smaller_crops(const Config& config) {
  std::vector<int64_t> crops;
  for (int64_t crop = config.crop_size / 2; crop >= 16; crop /= 2) {
    Config smaller = config;
    smaller.crop_size = crop;
    if (smaller.tile() >= smaller.learned_ds_factor) crops.push_back(crop);
  }
  return crops;
}

}  // namespace

double training_bytes(const Options& options, int64_t batch_size, int64_t crop_size) {
  const Config& c = options.model;
  const double pixels = static_cast<double>(batch_size) * static_cast<double>(crop_size) *
                        static_cast<double>(crop_size) / c.aspect_ratio;
  const bool momentum = options.train.beta1 > 0 || (options.train.beta1 < 0 && options.train.no_TTUR);
  const double copies = momentum ? 4 : 3;  // weight, gradient, moments
  return copies * 4 * parameters(c) + (c.no_vgg_loss ? 0 : kVggBytes) + kBytesPerPixel * pixels;
}

std::string smaller_settings(const Options& options, const OutOfMemory& error) {
  const double room = kShareForTensors * static_cast<double>(error.total());
  const int64_t batch = options.train.batchSize, crop = options.model.crop_size;
  std::string fitting;
  for (int64_t smaller = batch - 1; smaller >= 1; --smaller) {
    if (training_bytes(options, smaller, crop) > room) continue;
    fitting = str("--batch-size ", smaller);
    break;
  }
  for (const int64_t smaller : smaller_crops(options.model)) {
    if (training_bytes(options, batch, smaller) > room) continue;
    fitting += str(fitting.empty() ? "" : " or ", "--crop-size ", smaller);
    break;
  }
  const auto mib = [](double bytes) { return str(static_cast<int64_t>(bytes / kMib), " MiB"); };
  const std::string needed = mib(training_bytes(options, batch, crop));
  if (fitting.empty())
    return str("training needs about ", needed, " here; a smaller network (--lr-max-width, --lr-depth) needs less");
  return str(fitting, " would fit in ", mib(static_cast<double>(error.total())), " by estimate, where now about ",
             needed, " are needed");
}

}  // namespace asap::train
