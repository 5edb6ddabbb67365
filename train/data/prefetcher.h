// Prefetcher: threads that load samples of any kind ahead of a training loop and hand them over in a fixed order, which never
// depends on the number of threads. Each thread takes the next position, loads it without the lock and puts it into a map by
// position. Next: prefetch_loader.h and image_folder.h, for what is loaded.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "tensor/kernels.h"

namespace asap::train {

struct LoaderOptions {
  int64_t batch_size = 1;  // of all ranks together
  World ranks = {};        // of each batch, a rank has its share: as many samples as the others, in the order of the ranks
  int threads = 2;
  int64_t batches_ahead = 4;  // at most so many batches wait in memory
  uint64_t seed = 0;
  bool shuffle = true;    // order by sample_order(count, seed, epoch), else 0, 1, 2, ...
  bool augment = true;    // sample_random(seed, epoch, index), else the centre crop without mirroring
  bool flip = true;       // with augment: mirror half the samples
  bool drop_last = true;  // leave out a last batch that is short
};

// Of an epoch. asap::Error if the options make no sense or drop_last leaves no batch.
int64_t count_batches(int64_t samples, const LoaderOptions& options);
// The order in which an epoch's batches have the samples; what drop_last leaves out is missing.
std::vector<int64_t> epoch_order(int64_t samples, const LoaderOptions& options, int64_t epoch);
// Of these, the rank's: its share of the first batch, of the second, ...
std::vector<int64_t> rank_order(int64_t samples, const LoaderOptions& options, int64_t epoch);

template <class Sample>
class Prefetcher {
 public:
  using Batch = std::vector<Sample>;  // this rank's share of it
  using LoadFn = std::function<Sample(int64_t epoch, int64_t index)>;  // called from several threads at once

  // Samples 0 .. count-1 from anywhere. asap::Error as count_batches.
  Prefetcher(int64_t count, LoadFn load, const LoaderOptions& options)
      : count_(count),
        load_(std::move(load)),
        options_(options),
        batches_(count_batches(count, options)),
        share_(options.batch_size / options.ranks.size) {
    threads_.reserve(size_t(options.threads));
    try {
      for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& e) {
      shut_down();
      fail("PrefetchLoader: the system gave ", threads_.size(), " of ", options.threads, " threads (", e.what(), ")");
    }
  }
  ~Prefetcher() { shut_down(); }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  int64_t batches_per_epoch() const { return batches_; }

  // Begins (again) at a batch of an epoch; loading starts at once. What was loaded ahead before is dropped.
  void start_epoch(int64_t epoch, int64_t first_batch = 0) {
    ASAP_CHECK(first_batch >= 0 && first_batch <= batches_, "start_epoch: expected a first batch from 0 to ", batches_, ", got ",
               first_batch);
    std::vector<int64_t> order = rank_order(count_, options_, epoch);
    {
      std::lock_guard lock(mutex_);
      ++run_;
      epoch_ = epoch;
      order_ = std::move(order);
      next_batch_ = first_batch;
      next_load_ = first_batch * share_;
      ready_.clear();
    }
    work_to_do_.notify_all();
  }

  // The next batch, waiting for it if need be; nothing at the end of the epoch or before the first start_epoch.
  // Rethrows what loading one of its samples threw, and again at every further call until start_epoch.
  std::optional<Batch> next() {
    std::unique_lock lock(mutex_);
    const int64_t begin = next_batch_ * share_;
    const int64_t end = std::min(begin + share_, int64_t(order_.size()));
    if (begin >= end) return std::nullopt;
    for (int64_t i = begin; i < end; ++i) {
      sample_ready_.wait(lock, [&] { return ready_.contains(i); });
      if (ready_.at(i).error) std::rethrow_exception(ready_.at(i).error);
    }
    Batch batch;
    for (int64_t i = begin; i < end; ++i) batch.push_back(std::move(ready_.extract(i).mapped().sample));
    ++next_batch_;
    lock.unlock();
    work_to_do_.notify_all();
    return batch;
  }

 private:
  struct Loaded {
    Sample sample;
    std::exception_ptr error;
  };

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_to_do_.wait(lock, [this] {
        const int64_t limit = (next_batch_ + options_.batches_ahead) * share_;
        return stop_ || next_load_ < std::min(limit, int64_t(order_.size()));
      });
      if (stop_) return;
      const uint64_t run = run_;
      const int64_t epoch = epoch_, position = next_load_++, index = order_[size_t(position)];
      lock.unlock();
      Loaded loaded;
      try {
        loaded.sample = load_(epoch, index);
      } catch (...) {
        loaded.error = std::current_exception();
      }
      lock.lock();
      if (run != run_) continue;
      ready_.emplace(position, std::move(loaded));
      sample_ready_.notify_one();
    }
  }

  void shut_down() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    work_to_do_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  const int64_t count_;
  const LoadFn load_;
  const LoaderOptions options_;
  const int64_t batches_;
  const int64_t share_;  // samples of a batch

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
