// A row of pixels of many channels, turned so that the channels of a pixel stand side by side, as the micro kernel wants
// its operands where pixels are summed over: the weight gradients. Next: conv2d_weight_grad.cpp.
#pragma once

#include "tensor/cpu/gemm_pack.h"

namespace asap::cpu {

// One row of a picture: pixels [0, w) of `channels` planes, `plane` elements apart.
template <class T>
struct PixelRow {
  const T* data;
  int64_t plane, channels, w;
};

// at(i)[c] = row of channel c at column first + i, for i < columns; 0 outside the picture and for c >= row.channels.
// at(i) is the place of column i: `width` elements, a multiple of the lanes.
template <class T, class At>
void transpose_row(const PixelRow<T>& row, int64_t first, int64_t columns, int64_t width, const At& at) {
  constexpr int lanes = Simd<T>::lanes;
  const int64_t begin = std::clamp<int64_t>(-first, 0, columns), end = std::clamp(row.w - first, begin, columns);
  for (int64_t i = 0; i < begin; ++i) std::fill_n(at(i), width, T(0));
  for (int64_t i = end; i < columns; ++i) std::fill_n(at(i), width, T(0));
  const T* from = row.data + first;
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    for (int64_t c = 0; c < width; c += lanes) {
      Vec<T> v[lanes];
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) v[l] = c + l < row.channels ? load(from + (c + l) * row.plane + i) : Vec<T>{};
      transpose_lanes<T>(v);
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) store<T>(at(i + l) + c, v[l]);
    }
  }
  for (; i < end; ++i) {
    for (int64_t c = 0; c < width; ++c) at(i)[c] = c < row.channels ? from[c * row.plane + i] : T(0);
  }
}

}  // namespace asap::cpu
