// PrefetchLoader: pairs of files as samples, loaded ahead of the training loop. Sits on load_sample.h and prefetcher.h; used by the
// trainer.
#pragma once

#include <vector>

#include "train/data/load_sample.h"
#include "train/data/prefetcher.h"

namespace asap::train {

class PrefetchLoader : public Prefetcher<Sample> {
 public:
  PrefetchLoader(PairList pairs, const PreprocessOptions& preprocess, const LoaderOptions& options);
  using Prefetcher::Prefetcher;
};

}  // namespace asap::train
