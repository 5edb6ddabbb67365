// Order and number of batches; pairs of files as samples. Declared in prefetcher.h and prefetch_loader.h.
#include "train/data/prefetch_loader.h"

#include <numeric>

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

}  // namespace

int64_t count_batches(int64_t count, const LoaderOptions& o) {
  ASAP_CHECK(o.batch_size >= 1 && o.threads >= 1 && o.batches_ahead >= 1,
             "PrefetchLoader: expected batch_size, threads and batches_ahead of at least 1, got ", o.batch_size, ", ", o.threads,
             " and ", o.batches_ahead);
  ASAP_CHECK(o.batch_size % o.ranks.size == 0, "--batch-size ", o.batch_size, ", but ", o.ranks.size,
             " ranks share each batch evenly; choose a multiple of ", o.ranks.size);
  ASAP_CHECK(o.drop_last || o.ranks.size == 1, "PrefetchLoader: a last batch that is short cannot be shared among ", o.ranks.size,
             " ranks");
  ASAP_CHECK(!o.drop_last || count >= o.batch_size, "--batch-size ", o.batch_size, ", but the dataset has only ", count,
             count == 1 ? " pair" : " pairs", "; use at most ", count);
  const int64_t batches = o.drop_last ? count / o.batch_size : (count + o.batch_size - 1) / o.batch_size;
  ASAP_CHECK(batches >= 1, "PrefetchLoader: expected at least one sample, got none");
  return batches;
}

std::vector<int64_t> epoch_order(int64_t samples, const LoaderOptions& options, int64_t epoch) {
  std::vector<int64_t> order;
  if (options.shuffle) {
    order = sample_order(samples, options.seed, epoch);
  } else {
    order.resize(size_t(samples));
    std::iota(order.begin(), order.end(), 0);
  }
  order.resize(size_t(std::min(samples, count_batches(samples, options) * options.batch_size)));
  return order;
}

std::vector<int64_t> rank_order(int64_t samples, const LoaderOptions& options, int64_t epoch) {
  std::vector<int64_t> all = epoch_order(samples, options, epoch);
  if (options.ranks.size == 1) return all;
  const int64_t share = options.batch_size / options.ranks.size;
  std::vector<int64_t> mine;
  for (int64_t first = options.ranks.rank * share; first < std::ssize(all); first += options.batch_size)
    mine.insert(mine.end(), all.begin() + first, all.begin() + first + share);
  return mine;
}

PrefetchLoader::PrefetchLoader(std::vector<Pair> pairs, const PreprocessOptions& preprocess, const LoaderOptions& options)
    : Prefetcher(int64_t(pairs.size()), from_files(pairs, preprocess, options), options) {}

}  // namespace asap::train
