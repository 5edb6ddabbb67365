// Pictures and weights of a convolution as operands of the tiled matrix product (matmul_tiled.cuh): the matrix of windows is
// read straight from the picture, element by element, and never exists. All three convolution kernels stand on WindowGrid.
// Next: conv2d_forward.cu.
#pragma once

#include "cuda/conv2d.h"
#include "cuda/matmul_tiled.cuh"

namespace asap::cuda {

// One dimension of a grid of windows: window i looks at source pixels first + i*stride + tap*step, tap < taps.
struct WindowAxis {
  int size;  // of the source
  int windows, taps;
  int stride, first, step;
  // A bit for each tap at which window i falls off the source.
  __device__ __forceinline__ uint32_t missing(int i) const {
    uint32_t bits = 0;
    for (int tap = 0; tap < taps; ++tap) {
      const int at = first + i * stride + tap * step;
      if (at < 0 || at >= size) bits |= 1u << tap;
    }
    return bits;
  }
};

// The windows of all pictures as one dimension, (picture, row, column), against their elements as the other, (channel, tap row,
// tap column). Source [pictures][planes][h][w], of which the product may see some planes only (a group's).
struct WindowGrid {
  WindowAxis h, w;
  int picture_step;  // elements from one picture to the next
  Divider windows, windows_w, taps, taps_w;

  __host__ __device__ WindowGrid(const WindowAxis& rows, const WindowAxis& columns, int step)
      : h(rows), w(columns), picture_step(step) {}
  __host__ __device__ void count_windows() {
    windows = Divider(h.windows * w.windows);
    windows_w = Divider(w.windows);
  }
  __host__ __device__ void count_taps() {
    taps = Divider(h.taps * w.taps);
    taps_w = Divider(w.taps);
  }
  __device__ __forceinline__ Place window(int i) const {
    const int picture = windows.divide(i), row = windows_w.divide(i), column = i;
    return {picture * picture_step + (h.first + row * h.stride) * w.size + w.first + column * w.stride,
            kRow | h.missing(row) | w.missing(column) << kMostTaps};
  }
  __device__ __forceinline__ Place element(int k) const {
    const int channel = taps.divide(k), row = taps_w.divide(k), column = k;
    return {(channel * h.size + row * h.step) * w.size + column * w.step,
            kDepth | 1u << row | 1u << (kMostTaps + column)};
  }
};

// The windows of the forward pass.
inline WindowGrid forward_windows(const Conv2dSizes& s) {
  WindowGrid grid(
      {.size = s.h, .windows = s.oh, .taps = s.kh, .stride = s.stride_h, .first = -s.padding_h, .step = s.dilation_h},
      {.size = s.w, .windows = s.ow, .taps = s.kw, .stride = s.stride_w, .first = -s.padding_w, .step = s.dilation_w},
      s.c * s.h * s.w);
  grid.count_windows();
  grid.count_taps();
  return grid;
}

// Reflected or replicated padding of one pixel, as a correction of the offset at which a tap falls off: the first tap of an axis
// does so at its low end only, the last at its high end, and what they read instead lies so many elements further in.
struct BorderFold {
  int row = 0, column = 0;  // 0: padding is zero
  // Of an element whose row and k have these bits in common; false where it counts as zero.
  __device__ __forceinline__ bool apply(uint32_t missed, int& offset) const {
    constexpr uint32_t kTaps = (1u << kMostTaps) - 1;
    const uint32_t rows = missed & kTaps, columns = missed >> kMostTaps & kTaps;
    if (row == 0 || (missed & (kRow | kDepth))) return false;
    if (rows) offset += rows & 1 ? row : -row;
    if (columns) offset += columns & 1 ? column : -column;
    return true;
  }
};
// Whether it is that. Else only zero padding.
inline bool folds(const Conv2dSizes& s) {
  const auto one = [](int padding, int kernel) { return padding == 0 || (padding == 1 && kernel > 1); };
  return s.pad_mode == PadMode::zero || (one(s.padding_h, s.kh) && one(s.padding_w, s.kw));
}
inline BorderFold border_fold(const Conv2dSizes& s) {
  if (s.pad_mode == PadMode::zero) return {};
  const int pixels = s.pad_mode == PadMode::reflect ? 2 : 1;
  return {.row = pixels * s.w, .column = pixels};
}

// B of the forward pass: columns are windows, k their elements. Neighbouring windows lie side by side in memory.
struct Windows {
  const float* data;
  int rows, depth;
  int64_t group_step;
  WindowGrid grid;
  BorderFold fold;
  static constexpr bool along_k = false;
  static constexpr int vector = 1;
  __device__ __forceinline__ void begin(int group) { data += group * group_step; }
  __device__ __forceinline__ Place row(int r) const { return grid.window(r); }
  __device__ __forceinline__ Place k(int k) const { return grid.element(k); }
};

// Pictures as a matrix of channels against the pixels of all pictures: y of the forward pass, dy of the weight gradient.
struct ChannelRows {
  int pixels, picture_step;  // of a channel; elements from one picture to the next
  Divider by_pixels;
  __device__ __forceinline__ int row(int channel) const { return channel * pixels; }
  __device__ __forceinline__ int column(int pixel) const {
    const int picture = by_pixels.divide(pixel);
    return picture * picture_step + pixel;
  }
};
inline ChannelRows output_channels(const Conv2dSizes& s) {
  return {.pixels = s.oh * s.ow, .picture_step = s.o * s.oh * s.ow, .by_pixels = Divider(s.oh * s.ow)};
}

// A 1x1 window that steps over nothing.
inline bool is_pointwise(const Conv2dSizes& s) {
  return s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 && s.padding_w == 0 &&
         s.groups == 1;
}

}  // namespace asap::cuda
