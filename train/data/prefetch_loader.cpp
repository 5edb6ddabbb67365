// The loader's threads: each takes the next position, loads it without the lock and puts it into a map by position.
// See prefetch_loader.h.
#include "train/data/prefetch_loader.h"

#include <algorithm>
#include <numeric>
#include <system_error>

#include "tensor/error.h"

namespace asap::train {
namespace {

PrefetchLoader::LoadFn from_files(std::vector<Pair> pairs, const PreprocessOptions& preprocess, const LoaderOptions& options) {
  return [pairs = std::move(pairs), preprocess, options](int64_t epoch, int64_t index) {
    const Pair& pair = pairs[size_t(index)];
    const SampleRandom random = options.augment ? sample_random(options.seed, epoch, index, options.flip) : SampleRandom{};
    try {
      return load_sample(pair, preprocess, random);
    } catch (const Error&) {
      throw;  // names its file already
    } catch (const std::exception& e) {
      fail(pair.label.string(), ": loading this sample failed (", e.what(), ")");
    }
  };
}

int64_t count_batches(int64_t count, const LoaderOptions& o) {
  ASAP_CHECK(o.batch_size >= 1 && o.threads >= 1 && o.batches_ahead >= 1,
             "PrefetchLoader: expected batch_size, threads and batches_ahead of at least 1, got ", o.batch_size, ", ", o.threads,
             " and ", o.batches_ahead);
  ASAP_CHECK(!o.drop_last || count >= o.batch_size, "--batch-size ", o.batch_size, ", but the dataset has only ", count,
             count == 1 ? " pair" : " pairs", "; use at most ", count);
  const int64_t batches = o.drop_last ? count / o.batch_size : (count + o.batch_size - 1) / o.batch_size;
  ASAP_CHECK(batches >= 1, "PrefetchLoader: expected at least one sample, got none");
  return batches;
}

}  // namespace

PrefetchLoader::PrefetchLoader(std::vector<Pair> pairs, const PreprocessOptions& preprocess, const LoaderOptions& options)
    : PrefetchLoader(int64_t(pairs.size()), from_files(pairs, preprocess, options), options) {}

PrefetchLoader::PrefetchLoader(int64_t count, LoadFn load, const LoaderOptions& options)
    : count_(count), load_(std::move(load)), options_(options), batches_(count_batches(count, options)) {
  threads_.reserve(size_t(options.threads));
  try {
    for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (const std::system_error& e) {
    shut_down();
    fail("PrefetchLoader: the system gave ", threads_.size(), " of ", options.threads, " threads (", e.what(), ")");
  }
}

PrefetchLoader::~PrefetchLoader() { shut_down(); }

void PrefetchLoader::shut_down() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_to_do_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

int64_t PrefetchLoader::samples_per_epoch() const { return std::min(count_, batches_ * options_.batch_size); }

void PrefetchLoader::start_epoch(int64_t epoch, int64_t first_batch) {
  ASAP_CHECK(first_batch >= 0 && first_batch <= batches_, "start_epoch: expected a first batch from 0 to ", batches_, ", got ",
             first_batch);
  std::vector<int64_t> order;
  if (options_.shuffle) {
    order = sample_order(count_, options_.seed, epoch);
  } else {
    order.resize(size_t(count_));
    std::iota(order.begin(), order.end(), 0);
  }
  order.resize(size_t(samples_per_epoch()));
  {
    std::lock_guard lock(mutex_);
    ++run_;
    epoch_ = epoch;
    order_ = std::move(order);
    next_batch_ = first_batch;
    next_load_ = first_batch * options_.batch_size;
    ready_.clear();
  }
  work_to_do_.notify_all();
}

void PrefetchLoader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_to_do_.wait(lock, [this] {
      const int64_t limit = (next_batch_ + options_.batches_ahead) * options_.batch_size;
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

std::optional<PrefetchLoader::Batch> PrefetchLoader::next() {
  std::unique_lock lock(mutex_);
  const int64_t begin = next_batch_ * options_.batch_size;
  const int64_t end = std::min(begin + options_.batch_size, int64_t(order_.size()));
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

}  // namespace asap::train
