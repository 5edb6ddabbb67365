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
  Divisor windows, windows_w, taps, taps_w;

  WindowGrid() = default;
  WindowGrid(const WindowAxis& rows, const WindowAxis& columns, int step)
      : h(rows),
        w(columns),
        picture_step(step),
        windows(std::max(1, h.windows * w.windows)),
        windows_w(std::max(1, w.windows)),
        taps(std::max(1, h.taps * w.taps)),
        taps_w(std::max(1, w.taps)) {}

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
// Whether the padding is that, or zeros.
inline bool folds(const Conv2dSizes& s) {
  const auto one = [](int padding, int kernel) { return padding == 0 || (padding == 1 && kernel > 1); };
  return s.pad_mode == PadMode::zero || (one(s.padding_h, s.kh) && one(s.padding_w, s.kw));
}

// Columns are windows, k their elements. Neighbouring windows lie side by side in memory.
struct Windows {
  const float* data;
  int64_t part_step;
  int rows, depth;
  WindowGrid grid;
  static constexpr bool along_k = false;
  static constexpr int vector = 1;
  __device__ __forceinline__ Place row(int r) const { return grid.window(r); }
  __device__ __forceinline__ Place k(int k) const { return grid.element(k); }
};

// Of the forward pass, with its padding.
struct PaddedWindows : Windows {
  BorderFold fold;
};
inline PaddedWindows padded_windows(const Tensor& x, const Conv2dSizes& s) {
  const WindowGrid grid(
      {.size = s.h, .windows = s.oh, .taps = s.kh, .stride = s.stride_h, .first = -s.padding_h, .step = s.dilation_h},
      {.size = s.w, .windows = s.ow, .taps = s.kw, .stride = s.stride_w, .first = -s.padding_w, .step = s.dilation_w},
      s.c * s.h * s.w);
  const int pixels = s.pad_mode == PadMode::zero ? 0 : s.pad_mode == PadMode::reflect ? 2 : 1;
  return {{.data = x.data<float>(),
           .part_step = int64_t{s.cg} * s.h * s.w,
           .rows = s.n * s.oh * s.ow,
           .depth = s.cg * s.kh * s.kw,
           .grid = grid},
          {.row = pixels * s.w, .column = pixels}};
}

// A 1x1 window that steps over nothing: a plain matrix product, which copies pixels four at a time.
inline bool is_pointwise(const Conv2dSizes& s) {
  return s.kh == 1 && s.kw == 1 && s.stride_h == 1 && s.stride_w == 1 && s.padding_h == 0 && s.padding_w == 0 &&
         s.groups == 1;
}
// y[n] = op(w) x[n] for such.
inline void pointwise_product(Precision precision, const Tensor& x, const Tensor& w, bool transpose,
                              const Epilogue<float>& epilogue, Tensor& y) {
  const auto planes = [](const Tensor& t) { return t.reshape({t.size(0), t.size(1), t.size(2) * t.size(3)}); };
  Tensor to = planes(y);
  matrix_product(precision, w.reshape({1, w.size(0), w.size(1)}), planes(x), {.transpose_a = transpose}, epilogue, to);
}

}  // namespace asap::cuda
