// A kernel's static shared array under emulation: one for each core and block that runs beside others there, indices checked, NaN
// whenever a block starts.
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
    const BlockTurn turn = block_turn();
    Place& place = turn.rank == 0 ? first_ : other(turn.rank);
    if (place.epoch != turn.epoch) {
      take_static_shared(sizeof place.array);
      std::memset(static_cast<void*>(&place.array), 0xFF, sizeof place.array);
      place.epoch = turn.epoch;
    }
    return place.array[i];
  }

 private:
  struct Place {
    alignas(128) CheckedArray<Array> array;
    uint64_t epoch;
  };
  Place& other(unsigned rank) {  // most kernels never have one
    if (rank >= kMaxCluster) kernel_error("a static shared array in a grid of more than 16 blocks launched together");
    Place*& place = others_[rank - 1];
    if (!place) place = static_cast<Place*>(core_memory(sizeof(Place)));
    return *place;
  }
  Place first_;
  Place* others_[kMaxCluster - 1];
};

}  // namespace asap::emulate
