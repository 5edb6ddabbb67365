// From a .pth file's pickle to a StateDict: names the tensors, checks their views, copies their elements out of the
// storages. What a storage's bytes are, the container says (pth_zip.h, or the legacy stream in pth.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "nn/pth_pickle.h"
#include "nn/state_dict.h"

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

// The bytes of a storage, at least until the next call.
using StorageReader = std::function<std::span<const uint8_t>(const PthStorage&)>;

// All tensors within nested dicts, lists and tuples, each under the path of keys and indices that leads to it, joined
// by dots ("model.conv.weight", "list.0"); other values are skipped. Each storage is read once, and only if a tensor
// needs it. asap::Error naming the tensor: unreadable dtype, a view that leaves its storage, a name used twice.
StateDict read_tensors(const Pickle& pickle, const StorageReader& read_storage, ExpansionBudget& budget);

}  // namespace asap::nn
