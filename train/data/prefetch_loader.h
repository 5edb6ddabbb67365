// PrefetchLoader: threads that load samples ahead of the training loop and hand them over in a fixed order.
// Sits on load_sample.h; used by the trainer. The order never depends on the number of threads.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "train/data/load_sample.h"

namespace asap::train {

struct LoaderOptions {
  int64_t batch_size = 1;
  int threads = 2;
  int64_t batches_ahead = 4;  // at most so many batches wait in memory
  uint64_t seed = 0;
  bool shuffle = true;    // order by sample_order(count, seed, epoch), else 0, 1, 2, ...
  bool augment = true;    // sample_random(seed, epoch, index), else the centre crop without mirroring
  bool flip = true;       // with augment: mirror half the samples
  bool drop_last = true;  // leave out a last batch that is short
};

class PrefetchLoader {
 public:
  using Batch = std::vector<Sample>;
  using LoadFn = std::function<Sample(int64_t epoch, int64_t index)>;  // called from several threads at once

  // asap::Error if the options make no sense or drop_last leaves no batch.
  PrefetchLoader(std::vector<Pair> pairs, const PreprocessOptions& preprocess, const LoaderOptions& options);
  PrefetchLoader(int64_t count, LoadFn load, const LoaderOptions& options);  // samples 0 .. count-1 from anywhere
  ~PrefetchLoader();
  PrefetchLoader(const PrefetchLoader&) = delete;
  PrefetchLoader& operator=(const PrefetchLoader&) = delete;

  int64_t batches_per_epoch() const { return batches_; }

  // Begins (again) at a batch of an epoch; loading starts at once. What was loaded ahead before is dropped.
  void start_epoch(int64_t epoch, int64_t first_batch = 0);

  // The next batch, waiting for it if need be; nothing at the end of the epoch or before the first start_epoch.
  // Rethrows what loading one of its samples threw, and again at every further call until start_epoch.
  std::optional<Batch> next();

 private:
  struct Loaded {
    Sample sample;
    std::exception_ptr error;
  };

  void work();
  void shut_down();
  int64_t samples_per_epoch() const;

  const int64_t count_;
  const LoadFn load_;
  const LoaderOptions options_;
  int64_t batches_ = 0;

  std::mutex mutex_;  // guards everything below
  std::condition_variable work_to_do_, sample_ready_;
  bool stop_ = false;
  uint64_t run_ = 0;  // counts start_epoch calls, so that results of an earlier one are recognised
  int64_t epoch_ = 0;
  std::vector<int64_t> order_;
  int64_t next_load_ = 0, next_batch_ = 0;  // position in order_; batch
  std::map<int64_t, Loaded> ready_;         // by position in order_
  std::vector<std::thread> threads_;
};

}  // namespace asap::train
