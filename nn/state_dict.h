// StateDict: tensors by name, in the order they were set (the order of PyTorch's state_dict). A value type of nn:
// Module writes and loads one, safetensors.h and pth.h turn files into one. Next: safetensors.h, checkpoint_file.h.
#pragma once

#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/tensor.h"

namespace asap::nn {

// The tensors are handles: a StateDict shares memory with whoever filled it.
class StateDict {
 public:
  using Entry = std::pair<std::string, Tensor>;

  // A new name goes to the end; a known one keeps its place and gets the new tensor.
  void set(const std::string& name, Tensor tensor) {
    const auto [place, is_new] = index_.try_emplace(name, entries_.size());
    if (is_new) {
      entries_.emplace_back(name, std::move(tensor));
    } else {
      entries_[place->second].second = std::move(tensor);
    }
  }

  // The tensor of that name, or nullptr. The pointer is good until the next set().
  const Tensor* find(const std::string& name) const {
    const auto place = index_.find(name);
    return place == index_.end() ? nullptr : &entries_[place->second].second;
  }
  bool contains(const std::string& name) const { return index_.contains(name); }

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  std::vector<Entry>::const_iterator begin() const { return entries_.begin(); }
  std::vector<Entry>::const_iterator end() const { return entries_.end(); }

 private:
  std::vector<Entry> entries_;
  std::unordered_map<std::string, size_t> index_;  // name -> place in entries_
};

}  // namespace asap::nn
