// Naming and copying of a pickle's tensors. Declared in pth_tensors.h.
#include "nn/pth_tensors.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "nn/file_io.h"
#include "nn/pth_classes.h"

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
  std::vector<std::string> skipped;

  // `value` is worth a look (is_of_interest); other values are never visited.
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
    } else {
      skip(name, describe(value));
    }
  }

 private:
  static constexpr int kDeepest = 64;
  static constexpr size_t kMostItems = size_t{1} << 21, kMostTensors = 100'000, kLongestName = 1000,
                          kMostSkipped = 100;

  void visit_sequence(const std::vector<PickleValue>& items, const std::string& name, int depth) {
    count_items(items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      if (is_of_interest(items[i])) visit(items[i], join(name, std::to_string(i)), depth + 1);
    }
  }

  void visit_dict(const PickleDict& dict, const std::string& name, int depth) {
    count_items(dict.items.size());
    for (const auto& [key, item] : dict.items) {
      if (!is_of_interest(item)) continue;
      if (const auto* text = std::get_if<const std::string*>(&key)) {
        visit(item, join(name, **text), depth + 1);
      } else if (const auto* number = std::get_if<int64_t>(&key)) {
        visit(item, join(name, std::to_string(*number)), depth + 1);
      } else {
        skip(name, "a value whose key is " + describe(key));  // neither text nor a number: nothing to name it by
      }
    }
  }

  void count_items(size_t count) {
    ASAP_CHECK(count <= items_left_, "the checkpoint unfolds to more than ", kMostItems, " values; refused");
    items_left_ -= count;
  }

  // What may hold tensors, and what must be named because it would have been something that we do not know.
  static bool is_of_interest(const PickleValue& value) {
    if (const auto* opaque = std::get_if<const PickleOpaque*>(&value)) return !(*opaque)->plain;
    if (const auto* type = std::get_if<const PickleClass*>(&value)) return (*type)->role == PickleRole::opaque;
    return std::holds_alternative<const PthTensor*>(value) || std::holds_alternative<PickleDict*>(value) ||
           std::holds_alternative<PickleList*>(value) || std::holds_alternative<const PickleTuple*>(value);
  }

  void skip(const std::string& name, const std::string& what) {
    if (skipped.size() < kMostSkipped) skipped.push_back("'" + printable(name) + "': " + what);
  }

  static std::string join(const std::string& path, const std::string& key) {
    ASAP_CHECK(path.size() + key.size() < kLongestName, "a tensor's name is longer than ", kLongestName, " characters");
    return path.empty() ? key : path + "." + key;
  }

  std::unordered_set<std::string> names_;
  size_t items_left_ = kMostItems;
};

std::string refusal_of(const PthTensor& tensor) {
  if (!tensor.unfit.empty()) return str(tensor.unfit, " is not supported");
  if (!tensor.storage->dtype || !tensor.dtype || !is_readable(*tensor.dtype)) {
    return str("dtype ", printable(tensor.dtype_name), " is not supported");
  }
  return "";
}

// Complex numbers and the like can be copied as they are; what is no plain view of its elements cannot.
std::string safetensors_dtype_of(const PthTensor& tensor) {
  return tensor.unfit.empty() && tensor.storage->dtype && tensor.dtype ? safetensors_name(*tensor.dtype) : "";
}

// The tensor's view, its shape checked; whoever reads it checks it against the storage.
FileView checked_view(const PthTensor& tensor) {
  ASAP_CHECK(tensor.sizes.size() == tensor.strides.size(), "expected as many strides as sizes, got ",
             tensor.strides.size(), " and ", tensor.sizes.size());
  for (const int64_t stride : tensor.strides) ASAP_CHECK(stride >= 0, "expected strides of at least 0, got ", stride);
  return {*tensor.dtype, checked_shape(tensor.sizes), Shape(tensor.strides), tensor.offset, tensor.negative};
}

class PthReader : public TensorReader {
 public:
  PthReader(Pickle pickle, StorageReader read_storage, ExpansionBudget budget)
      : pickle_(std::move(pickle)), read_storage_(std::move(read_storage)), budget_(budget) {
    ASAP_CHECK(std::holds_alternative<PickleDict*>(pickle_.root), "expected a dict of tensors, got ",
               describe(pickle_.root),
               std::holds_alternative<const PickleOpaque*>(pickle_.root) ? "; save the model's state_dict()" : "");
    TensorFinder finder;
    finder.visit(pickle_.root, "", 0);
    found_ = std::move(finder.found);
    skipped_ = std::move(finder.skipped);
    std::map<const PthStorage*, size_t> first_use;
    for (const auto& [name, tensor] : found_) {
      first_use.try_emplace(tensor->storage, order_.size());
      order_.push_back(order_.size());
      tensors_.push_back({name, tensor->dtype_name, safetensors_dtype_of(*tensor), tensor->sizes, refusal_of(*tensor)});
    }
    std::ranges::stable_sort(order_, {}, [&](size_t i) { return first_use.at(found_[i].tensor->storage); });
  }

 private:
  Tensor read_values(size_t index) override {
    const FileView view = checked_view(*found_[index].tensor);
    budget_.spend(view.shape.numel(), asap::size_of(tensor_dtype(view.dtype)));
    return read_view(storage_of(index), view);
  }

  std::vector<uint8_t> read_raw(size_t index) override {
    const FileView view = checked_view(*found_[index].tensor);
    budget_.spend(view.shape.numel(), size_of(view.dtype));
    return pack_view(storage_of(index), view);
  }

  // Kept until another one is asked for.
  std::span<const uint8_t> storage_of(size_t index) {
    const PthStorage* storage = found_[index].tensor->storage;
    if (storage != storage_) {
      storage_ = nullptr;
      bytes_ = read_storage_(*storage, budget_);
      storage_ = storage;
    }
    return bytes_;
  }

  Pickle pickle_;
  StorageReader read_storage_;
  ExpansionBudget budget_;
  std::vector<NamedTensor> found_;
  const PthStorage* storage_ = nullptr;  // whose bytes_ are at hand
  std::span<const uint8_t> bytes_;
};

}  // namespace

void ExpansionBudget::spend(int64_t count, size_t size) {
  ASAP_CHECK(static_cast<uint64_t>(count) <= left_ / size, "unfolds to more than ", kMostExpansion, " times the file (",
             count, " elements of ", size, " bytes asked, ", left_, " bytes left); refused");
  left_ -= static_cast<size_t>(count) * size;
}

std::unique_ptr<TensorReader> read_pickled_tensors(Pickle pickle, StorageReader read_storage, ExpansionBudget budget) {
  return std::make_unique<PthReader>(std::move(pickle), std::move(read_storage), budget);
}

}  // namespace asap::nn
