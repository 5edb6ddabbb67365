// Estimates of a training run's memory. Declared in memory_advice.h.
#include "train/run/memory_advice.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
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

// The machine's memory, or less where the process has a limit (ulimit -v).
double host_bytes() {
  const double all = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  rlimit limit{};
  const bool limited = getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  return limited ? std::min(all, static_cast<double>(limit.rlim_cur)) : all;
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

std::string smaller_settings(const Options& options, size_t device_bytes) {
  const int64_t batch = options.train.batchSize, crop = options.model.crop_size;
  const double needed = training_bytes(options, batch, crop);
  double total = device_bytes > 0 ? static_cast<double>(device_bytes) : host_bytes();
  if (needed <= kShareForTensors * total) total = needed / 2 / kShareForTensors;
  const double room = kShareForTensors * total;
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
  if (fitting.empty())
    return str("training needs about ", mib(needed), " here; a smaller network (--lr-max-width, --lr-depth) needs less");
  return str(fitting, " would fit in ", mib(total), " by estimate, where now about ", mib(needed), " are needed");
}

}  // namespace asap::train
