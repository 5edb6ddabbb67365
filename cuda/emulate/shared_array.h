// A kernel's static shared array under emulation: one for each core, indices checked, NaN whenever a block starts.
// Stands behind ASAP_SHARED of ../common.cuh.
#pragma once

#include <cstring>
#include <string>

#include "cuda/emulate/fibers.h"

namespace asap::emulate {

// Checks one dimension; the elements are the next dimension's arrays.
template <class T>
struct CheckedArray;

template <class T>
struct CheckedElement {
  using type = T;
};
template <class T, size_t N>
struct CheckedElement<T[N]> {
  using type = CheckedArray<T[N]>;
};

template <class T, size_t N>
struct CheckedArray<T[N]> {
  typename CheckedElement<T>::type items[N];

  template <class Index>
  auto& operator[](Index i) {
    if (static_cast<uint64_t>(i) >= N) {
      kernel_error("index " + std::to_string(static_cast<long long>(i)) + " of a shared array of " + std::to_string(N));
    }
    return items[static_cast<size_t>(i)];
  }
};

template <class Array>
class SharedArray {
 public:
  template <class Index>
  auto& operator[](Index i) {
    if (epoch_ != block_epoch()) {
      std::memset(static_cast<void*>(&array_), 0xFF, sizeof array_);
      epoch_ = block_epoch();
    }
    return array_[i];
  }

 private:
  alignas(128) CheckedArray<Array> array_;
  uint64_t epoch_ = 0;
};

}  // namespace asap::emulate
