// Estimates of a training run's memory. Declared in memory_advice.h.
#include "train/run/memory_advice.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "tensor/backend.h"
#include "train/run/memory_estimate.h"

namespace asap::train {
namespace {

using asapnet::Config;

constexpr double kShareForTensors = 0.92;  // the rest is the driver's, and lost between blocks

std::string mib(double bytes) { return std::to_string(std::llround(bytes / 1024 / 1024)); }

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
  Options changed = options;
  changed.train.batchSize = batch_size;
  changed.model.crop_size = crop_size;
  return estimate_memory(changed).total();
}

MemoryNeed memory_need(const Options& options) try {
  const bool on_card = options.train.device == "cuda";
  const double has = on_card ? static_cast<double>(cuda_memory()) : host_bytes();
  const MemoryEstimate need = estimate_memory(options);
  return {.text = str("about ", mib(need.total()), " MiB: weights ", mib(need.weights), ", gradients and moments ",
                      mib(need.optimizer), ", activations ", mib(need.activations), ", freed and kept ", mib(need.reuse),
                      "; the ", on_card ? "card" : "machine", " has ", mib(has), " MiB"),
          .too_large = need.peak() > has};
} catch (const std::bad_alloc&) {
  return {.text = "more memory than this process may have (" + mib(host_bytes()) + " MiB)", .too_large = true};
}

std::string smaller_settings(const Options& options, size_t device_bytes) try {
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
  if (fitting.empty())
    return str("training needs about ", mib(needed), " MiB here; a smaller network (--lr-max-width, --lr-depth) needs less");
  return str(fitting, " would fit in ", mib(total), " MiB by estimate, where now about ", mib(needed), " MiB are needed");
} catch (const std::bad_alloc&) {  // ulimit -v
  return "a smaller --crop-size or --batch-size or a smaller network (--lr-max-width, --lr-depth) needs less";
}

}  // namespace asap::train
