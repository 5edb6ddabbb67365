// The pickle inside a .pth file: a small stack machine that builds values and executes nothing. It knows the opcodes
// and classes that a state_dict needs and refuses every other by name. The tensors it builds are descriptions; their
// bytes lie in storages that the container holds. Sources: PEP 307 and CPython's pickletools (opcodes), PyTorch's
// serialization note. Next: pth_tensors.h turns the values into a StateDict.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "nn/file_dtype.h"

namespace asap::nn {

struct PickleClass;  // one of the known classes; inside pth_pickle.cpp
struct PickleTuple;
struct PickleList;
struct PickleDict;

// A block of elements that the container stores under `key`.
struct PthStorage {
  std::string key;
  std::string_view class_name;     // "torch.FloatStorage"
  std::optional<FileDType> dtype;  // none for complex and quantised storages, which we cannot read
  int64_t numel = 0;
};

// A view of a storage, as the pickle states it: nothing is checked yet.
struct PthTensor {
  const PthStorage* storage = nullptr;
  int64_t offset = 0;  // in elements, as the strides
  std::vector<int64_t> sizes, strides;
  bool quantised = false;
};

// monostate stands for None and for integers beyond 64 bits. What is pointed to lives in the Pickle.
using PickleValue = std::variant<std::monostate, bool, int64_t, double, const std::string*, const PickleClass*,
                                 const PickleTuple*, PickleList*, PickleDict*, const PthStorage*, const PthTensor*>;

struct PickleTuple {
  std::vector<PickleValue> items;
};
struct PickleList {
  std::vector<PickleValue> items;
};
struct PickleDict {
  std::vector<std::pair<PickleValue, PickleValue>> items;  // a dict or OrderedDict, as written: a key may repeat
};

// "a list", "an integer", "class torch.FloatStorage": for error messages.
std::string describe(const PickleValue& value);

// One pickle's values, with identity as in Python: a value may be reached on several ways, or contain itself.
class Pickle {
 public:
  PickleValue root;
  size_t bytes = 0;  // its length, up to and including STOP
  std::unordered_map<std::string, const PthStorage*> storages;  // by key

  // Keeps the value as long as this pickle lives, at a fixed address.
  template <class T>
  T* keep(T value) {
    return &std::get<std::deque<T>>(objects_).emplace_back(std::move(value));
  }

 private:
  std::tuple<std::deque<std::string>, std::deque<PickleTuple>, std::deque<PickleList>, std::deque<PickleDict>,
             std::deque<PthStorage>, std::deque<PthTensor>>
      objects_;
};

// Reads the pickle at the start of `bytes` (more may follow). Time and memory are bounded by the bytes read and by
// kMostSteps. asap::Error: truncated; an opcode or class that a state_dict has no use for, named; stack, mark or memo
// misuse; too many steps.
inline constexpr size_t kMostSteps = size_t{1} << 21;  // opcodes followed; enough for some 60 000 tensors
Pickle read_pickle(std::span<const uint8_t> bytes);

}  // namespace asap::nn
