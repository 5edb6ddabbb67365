// The pickle inside a .pth file: a small stack machine that builds values and executes nothing. It knows the classes that
// tensors and their containers are made of; whatever another class or function would make is an opaque value: a name,
// nothing more. The tensors it builds are descriptions; their bytes lie in storages that the container holds. Sources:
// PEP 307, 3154 and 574 and CPython's pickletools (opcodes), PyTorch's serialization note, files that PyTorch wrote.
// Next: pth_tensors.h finds the tensors among the values.
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

enum class PickleRole : uint8_t;  // what calling a class makes; pth_classes.h
struct PickleTuple;
struct PickleList;
struct PickleDict;

// A class or function that the pickle names.
struct PickleClass {
  std::string_view name;  // module.name
  PickleRole role;
};

// What a class or function would have made that we do not run. Plain: one of Python's or PyTorch's own values that say
// nothing about tensors (a set, bytes, a device), as an epoch number does.
struct PickleOpaque {
  std::string_view class_name;
  bool plain = false;
};

// A block of elements that the container stores under `key`.
struct PthStorage {
  std::string key;
  std::string_view class_name;     // "torch.FloatStorage"
  std::optional<FileDType> dtype;  // u8 for one without a type; none for a class that we do not know
  int64_t numel = 0;
};

// A view of a storage, as the pickle states it: nothing is checked yet.
struct PthTensor {
  const PthStorage* storage = nullptr;  // none where `unfit` says so
  int64_t offset = 0;                   // in elements of the tensor, as the strides
  std::vector<int64_t> sizes = {}, strides = {};
  std::optional<FileDType> dtype = {};
  std::string dtype_name = {};  // PyTorch's, also for one that we do not know: "float32", "uint4"
  std::string_view unfit = {};  // "a sparse tensor": what no tensor of ours can be; empty otherwise
  bool negative = false;        // the values are the stored ones negated (PyTorch's negative bit)
};

// monostate stands for None and for integers beyond 64 bits. What is pointed to lives in the Pickle.
using PickleValue = std::variant<std::monostate, bool, int64_t, double, const std::string*, const PickleClass*,
                                 const PickleTuple*, PickleList*, PickleDict*, const PthStorage*, const PthTensor*,
                                 const PickleOpaque*>;

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
             std::deque<PthStorage>, std::deque<PthTensor>, std::deque<PickleClass>, std::deque<PickleOpaque>>
      objects_;
};

// Reads the pickle at the start of `bytes` (more may follow). Time and memory are bounded by the bytes read and by
// kMostSteps, the opcodes followed and values copied: enough for some 45 000 tensors. asap::Error: truncated; an opcode that files of protocol 2 to 5 do not use, or that refers to something
// outside of the file; stack, mark or memo misuse; a tensor that is not described as PyTorch does; too many steps.
inline constexpr size_t kMostSteps = size_t{1} << 21;
Pickle read_pickle(std::span<const uint8_t> bytes);

}  // namespace asap::nn
