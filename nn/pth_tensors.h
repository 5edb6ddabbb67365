// From a .pth file's pickle to its tensors: names them, checks their views, copies their elements out of the storages.
// What a storage's bytes are, the container says (pth_zip.h, or the legacy stream in pth.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "nn/pth_pickle.h"
#include "nn/tensor_reader.h"

namespace asap::nn {

// How many bytes a file may make us allocate: a file is hostile that unfolds to far more than it is. Checkpoints
// stay below 4 (int8 storages become i32) unless many tensors share their elements.
class ExpansionBudget {
 public:
  explicit ExpansionBudget(size_t file_bytes) : left_(kMostExpansion * file_bytes + kSlack) {}
  // asap::Error when count * size bytes are more than what is left.
  void spend(int64_t count, size_t size);

 private:
  static constexpr size_t kMostExpansion = 16, kSlack = size_t{16} << 20;
  size_t left_;
};

// The bytes of a storage, at least until the next call. What it unpacks it takes from the budget.
using StorageReader = std::function<std::span<const uint8_t>(const PthStorage&, ExpansionBudget&)>;

// All tensors within nested dicts, lists and tuples, each under the path of keys and indices that leads to it, joined
// by dots ("model.conv.weight", "list.0"); plain values are skipped, opaque ones named in skipped(). asap::Error: no
// dict, a name used twice, values that nest or multiply without end.
std::unique_ptr<TensorReader> read_pickled_tensors(Pickle pickle, StorageReader read_storage, ExpansionBudget budget);

}  // namespace asap::nn
