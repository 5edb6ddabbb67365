// A row of pixels of many channels, turned so that the channels of a pixel stand side by side, as the micro kernel wants
// its operands where pixels are summed over: the weight gradients. Next: conv2d_weight_grad.cpp.
#if defined(ASAP_CPU_CONV2D_TRANSPOSE_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_CONV2D_TRANSPOSE_H
#undef ASAP_CPU_CONV2D_TRANSPOSE_H
#else
#define ASAP_CPU_CONV2D_TRANSPOSE_H
#endif

#include "tensor/cpu/matmul_pack.h"
#include "tensor/definitions/padded_index.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {

// One row of a picture: pixels [0, w) of `channels` planes, `plane` elements apart.
template <class T>
struct PixelRow {
  const T* data;
  int64_t plane, channels, w;
  PadMode pad_mode = PadMode::zero;
};

// at(i)[c] = row of channel c at column first + i, for i < columns, outside the picture what the padding mode says; 0 for
// c >= row.channels.
// at(i) is the place of column i: `width` elements, a multiple of the lanes.
template <class T, class At>
void transpose_row(const PixelRow<T>& row, int64_t first, int64_t columns, int64_t width, const At& at) {
  using S = SumOf<T>;
  constexpr int lanes = Simd<S>::lanes;
  const int64_t begin = std::clamp<int64_t>(-first, 0, columns), end = std::clamp(row.w - first, begin, columns);
  const auto copy_pixels = [&](int64_t i, int64_t last) {
    for (; i < last; ++i) {
      const int64_t iw = padded_index(first + i, row.w, row.pad_mode), channels = iw < 0 ? 0 : row.channels;
      for (int64_t c = 0; c < width; ++c) at(i)[c] = c < channels ? S(row.data[c * row.plane + iw]) : S(0);
    }
  };
  copy_pixels(0, begin);
  copy_pixels(end, columns);
  const T* from = row.data + first;
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) {
    for (int64_t c = 0; c < width; c += lanes) {
      Vec<S> v[lanes];
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) __builtin_prefetch(from + (c + l) * row.plane + i + 4 * lanes);
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) v[l] = c + l < row.channels ? load(from + (c + l) * row.plane + i) : Vec<S>{};
      transpose_lanes<S>(v);
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) store<S>(at(i + l) + c, v[l]);
    }
  }
  copy_pixels(i, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
