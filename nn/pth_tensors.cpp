// Naming and copying of a pickle's tensors. Declared in pth_tensors.h.
#include "nn/pth_tensors.h"

#include <algorithm>
#include <unordered_set>

#include "nn/file_io.h"

namespace asap::nn {
namespace {

struct NamedTensor {
  std::string name;
  const PthTensor* tensor = nullptr;
};

// Walks the values depth first. Containers may be shared or contain themselves, so depth and items are bounded.
class TensorFinder {
 public:
  std::vector<NamedTensor> found;

  // `value` is a tensor or a container; other values are never visited.
  void visit(const PickleValue& value, const std::string& name, int depth) {
    ASAP_CHECK(depth <= kDeepest, "values nest deeper than ", kDeepest, " levels at '", printable(name), "'; refused");
    if (const auto* tensor = std::get_if<const PthTensor*>(&value)) {
      ASAP_CHECK(names_.insert(name).second, "two tensors are named '", printable(name), "'");
      ASAP_CHECK(found.size() < kMostTensors, "the checkpoint has more than ", kMostTensors, " tensors; refused");
      found.push_back({name, *tensor});
    } else if (const auto* dict = std::get_if<PickleDict*>(&value)) {
      visit_dict(**dict, name, depth);
    } else if (const auto* list = std::get_if<PickleList*>(&value)) {
      visit_sequence((*list)->items, name, depth);
    } else if (const auto* tuple = std::get_if<const PickleTuple*>(&value)) {
      visit_sequence((*tuple)->items, name, depth);
    }
  }

 private:
  static constexpr int kDeepest = 64;
  static constexpr size_t kMostItems = size_t{1} << 21, kMostTensors = 100'000, kLongestName = 1000;

  void visit_sequence(const std::vector<PickleValue>& items, const std::string& name, int depth) {
    count_items(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      if (may_hold_tensors(items[i])) visit(items[i], join(name, std::to_string(i)), depth + 1);
    }
  }

  void visit_dict(const PickleDict& dict, const std::string& name, int depth) {
    count_items(dict.items.size());
    for (const auto& [key, item] : dict.items) {
      if (!may_hold_tensors(item)) continue;
      if (const auto* text = std::get_if<const std::string*>(&key)) {
        visit(item, join(name, **text), depth + 1);
      } else if (const auto* number = std::get_if<int64_t>(&key)) {
        visit(item, join(name, std::to_string(*number)), depth + 1);
      } else {
        fail("expected text or an integer as the key of a tensor or container within '", printable(name), "', got ",
             describe(key));
      }
    }
  }

  void count_items(size_t count) {
    ASAP_CHECK(count <= items_left_, "the checkpoint unfolds to more than ", kMostItems, " values; refused");
    items_left_ -= count;
  }

  static bool may_hold_tensors(const PickleValue& value) {
    return std::holds_alternative<const PthTensor*>(value) || std::holds_alternative<PickleDict*>(value) ||
           std::holds_alternative<PickleList*>(value) || std::holds_alternative<const PickleTuple*>(value);
  }

  static std::string join(const std::string& path, const std::string& key) {
    ASAP_CHECK(path.size() + key.size() < kLongestName, "a tensor's name is longer than ", kLongestName, " characters");
    return path.empty() ? key : path + "." + key;
  }

  std::unordered_set<std::string> names_;
  size_t items_left_ = kMostItems;
};

// The tensor's view, its shape checked; read_view checks it against the storage.
FileView checked_view(const PthTensor& tensor) {
  const PthStorage& storage = *tensor.storage;
  ASAP_CHECK(!tensor.quantised && storage.dtype, "expected real elements or integers, got ",
             tensor.quantised ? "a quantised tensor of " : "", storage.class_name, ", which is not supported");
  ASAP_CHECK(tensor.sizes.size() == tensor.strides.size(), "expected as many strides as sizes, got ",
             tensor.strides.size(), " and ", tensor.sizes.size());
  for (const int64_t stride : tensor.strides) ASAP_CHECK(stride >= 0, "expected strides of at least 0, got ", stride);
  return {*storage.dtype, checked_shape(tensor.sizes), Shape(tensor.strides), tensor.offset};
}

}  // namespace

void ExpansionBudget::spend(int64_t count, size_t size) {
  ASAP_CHECK(static_cast<uint64_t>(count) <= left_ / size, "unfolds to more than ", kMostExpansion, " times the file (",
             count, " elements of ", size, " bytes asked, ", left_, " bytes left); refused");
  left_ -= static_cast<size_t>(count) * size;
}

StateDict read_tensors(const Pickle& pickle, const StorageReader& read_storage, ExpansionBudget& budget) {
  ASAP_CHECK(std::holds_alternative<PickleDict*>(pickle.root), "expected a dict of tensors, got ", describe(pickle.root));
  TensorFinder finder;
  finder.visit(pickle.root, "", 0);

  // Storage by storage, so that no more than one is held at a time.
  std::vector<const PthStorage*> storages;
  std::unordered_map<const PthStorage*, std::vector<size_t>> users;
  for (size_t i = 0; i < finder.found.size(); ++i) {
    const PthStorage* storage = finder.found[i].tensor->storage;
    if (users[storage].empty()) storages.push_back(storage);
    users[storage].push_back(i);
  }
  std::vector<Tensor> tensors(finder.found.size());
  for (const PthStorage* storage : storages) {
    std::span<const uint8_t> bytes;
    for (const size_t i : users[storage]) {
      const NamedTensor& named = finder.found[i];
      tensors[i] = with_prefix("tensor '" + printable(named.name) + "'", [&] {
        const FileView view = checked_view(*named.tensor);
        budget.spend(view.shape.numel(), asap::size_of(tensor_dtype(view.dtype)));
        if (i == users[storage].front()) bytes = read_storage(*storage);
        return read_view(bytes, view);
      });
    }
  }
  StateDict result;
  for (size_t i = 0; i < tensors.size(); ++i) result.set(finder.found[i].name, tensors[i]);
  return result;
}

}  // namespace asap::nn
