// What Winograd's two variants share: the task, forward or input gradient, as tiles of the output, and filters as their transforms
// want them, each tap's weights of as many neighbours as a vector has lanes.
// Per target (targets.h). Next: conv2d_winograd.cpp and conv2d_winograd_bf16.cpp.
#if defined(ASAP_CPU_CONV2D_WINOGRAD_FILTERING_H) == defined(HWY_TARGET_TOGGLE)  // once per target: targets.h
#ifdef ASAP_CPU_CONV2D_WINOGRAD_FILTERING_H
#undef ASAP_CPU_CONV2D_WINOGRAD_FILTERING_H
#else
#define ASAP_CPU_CONV2D_WINOGRAD_FILTERING_H
#endif

#include "tensor/cpu/conv2d.h"
#include "tensor/cpu/conv2d_winograd.h"
#include "tensor/cpu/matmul_pack.h"
#include "tensor/cpu/workspace.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE::winograd {

// y [n][rows][oh][ow] = sum over channels of x [n][channels][h][w], whose pixel (0,0) lies at output (pad.h, pad.w), with
// the filter of each (row, channel): side*side weights `tap_step` apart at filters + row*row_step + channel*channel_step,
// backwards if `turned`. Outputs come in tiles of tile x tile.
template <class T, int tile>
struct Filtering {
  int64_t n, rows, channels;
  int64_t h, w, oh, ow;
  Size2 padding;
  const T* x;
  const T* filters;
  int64_t row_step, channel_step, tap_step;
  bool turned;
  T* y;
  PadMode pad_mode = PadMode::zero;
  Epilogue<float> epilogue = {};

  int64_t tiles_h() const { return ceil_div(oh, tile); }
  int64_t tiles_w() const { return ceil_div(ow, tile); }
  int64_t tiles() const { return n * tiles_h() * tiles_w(); }
};

template <class T, int tile>
Filtering<T, tile> forward_filtering(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  return {.n = s.n, .rows = s.o, .channels = s.c, .h = s.h, .w = s.w, .oh = s.oh, .ow = s.ow, .padding = p.padding,
          .x = x.data<T>(), .filters = w.data<T>(), .row_step = w.strides()[0], .channel_step = w.strides()[1],
          .tap_step = w.strides()[3], .turned = false, .y = y.data<T>(), .pad_mode = p.pad_mode, .epilogue = {bias, p}};
}

// The same convolution of dy with the filters turned and their roles exchanged.
template <class T, int tile>
Filtering<T, tile> input_grad_filtering(const Tensor& dy, const Tensor& w, const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  return {.n = s.n, .rows = s.c, .channels = s.o, .h = s.oh, .w = s.ow, .oh = s.h, .ow = s.w,
          .padding = Size2(s.kh - 1 - p.padding.h, s.kw - 1 - p.padding.w), .x = dy.data<T>(), .filters = w.data<T>(),
          .row_step = w.strides()[1], .channel_step = w.strides()[0], .tap_step = w.strides()[3], .turned = true, .y = dx.data<T>()};
}

// Neighbouring tiles in one row of tiles.
struct Segment {
  int64_t image, row, column, count;
};
// The longest segment from tile t on, ending before `end`.
template <class F>
Segment segment_at(const F& f, int64_t t, int64_t end) {
  const int64_t column = t % f.tiles_w(), row = t / f.tiles_w();
  return {row / f.tiles_h(), row % f.tiles_h(), column, std::min(f.tiles_w() - column, end - t)};
}
// Cuts `count` tiles from `begin` on, as far as there are, into segments; visit(segment, its place after begin).
template <class F, class Visit>
void for_each_segment(const F& f, int64_t begin, int64_t count, const Visit& visit) {
  const int64_t end = std::min(begin + count, f.tiles());
  for (int64_t t = begin; t < end;) {
    const Segment s = segment_at(f, t, end);
    visit(s, t - begin);
    t += s.count;
  }
}

// weights[tap] of Simd<float>::lanes filters that lie side by side. Those behind `end` are zeros. Splitting their numbers by the tap's
// column, then each column's by its row, are fewer shuffles than a transposition.
template <class T, int taps>
[[gnu::always_inline]] inline void load_filters(const T* from, const T* end, Vec<float> (&weights)[taps]) {
  constexpr int side = taps == 9 ? 3 : 4, lanes = Simd<float>::lanes;
  T copy[taps * lanes];
  if (end - from < taps * lanes) {
    std::fill(std::copy(from, end, copy), copy + taps * lanes, T());
    from = copy;
  }
  Vec<float> columns[side][side];  // [part][column]
#pragma GCC unroll 4
  for (int part = 0; part < side; ++part) {
    Vec<float> numbers[side];
#pragma GCC unroll 4
    for (int i = 0; i < side; ++i) numbers[i] = load(from + (part * side + i) * lanes);
    split(numbers, columns[part]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < side; ++j) {
    Vec<float> column[side], rows[side];
#pragma GCC unroll 4
    for (int part = 0; part < side; ++part) column[part] = columns[part][j];
    split(column, rows);
#pragma GCC unroll 4
    for (int i = 0; i < side; ++i) weights[i * side + j] = rows[i];
  }
}

// The same where filters are channels-last: a tap's weights lie side by side.
template <class T, int taps>
[[gnu::always_inline]] inline void load_taps(const T* from, const T* end, int64_t tap_step, Vec<float> (&weights)[taps]) {
  T copy[Simd<float>::lanes];
  const T* last = from + (taps - 1) * tap_step;
  if (end - last < Simd<float>::lanes) {
    std::fill(std::copy(last, end, copy), copy + Simd<float>::lanes, T());
    last = copy;
  }
#pragma GCC unroll 16
  for (int tap = 0; tap < taps - 1; ++tap) weights[tap] = load(from + tap * tap_step);
  weights[taps - 1] = load(last);
}

// Either of them; what lies `next` elements on is fetched meanwhile. Nothing is read from `end` on.
template <class T, int taps>
[[gnu::always_inline]] inline void load_weights(const T* from, const T* end, int64_t tap_step, int64_t next, Vec<float> (&weights)[taps]) {
  if (tap_step == 1) {
    constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
    for (int64_t i = 0; i < taps * Simd<float>::lanes; i += line) __builtin_prefetch(from + next + i);
    load_filters(from, end, weights);
  } else {
    for (int64_t tap = 0; tap < taps; ++tap) __builtin_prefetch(from + next + tap * tap_step);
    load_taps(from, end, tap_step, weights);
  }
}

}  // namespace HWY_NAMESPACE::winograd
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();

#endif  // per target
