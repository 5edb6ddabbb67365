// Convolution's input gradient as a matrix product: dx [C, pixels] = w turned, [C, O * taps], times windows of dy. With a
// stride, neighbouring pixels were seen through different taps: 3x3 of stride 2 saw a pixel through 4, 2, 2 or 1 of its 9.
// So the pixels are parted into stride.h * stride.w phases, (ih mod stride.h, iw mod stride.w): within one, all have the same
// taps, and its product is no deeper than they are. The phases run side by side in one launch.
// Floor: the operations of the forward pass, or one reading of dy, w and one writing of dx. Next: conv2d_weight_grad.cu.
#include <numeric>

#include "cuda/conv2d_operands.cuh"

namespace asap::cuda {
namespace {

// One dimension of a phase: its pixels `phase + i*stride` as windows of dy. A tap k meets pixel i of dx where
// i + padding - k*dilation is a multiple of the stride, namely stride times the row of dy: so every tap_step-th from `first_tap`
// on, if any.
struct PhaseAxis {
  WindowAxis windows;
  int first_tap, tap_step;
};
PhaseAxis phase_axis(int phase, int size, int outputs, int kernel, int stride, int padding, int dilation) {
  const int common = std::gcd(stride, dilation), tap_step = stride / common;
  int first_tap = 0;
  while (first_tap < kernel && (phase + padding - first_tap * dilation) % stride != 0) ++first_tap;
  return {.windows = {.size = outputs,
                      .windows = std::max(0, (size - phase + stride - 1) / stride),
                      .taps = (kernel - first_tap + tap_step - 1) / tap_step,
                      .stride = 1,
                      .first = (phase + padding - first_tap * dilation) / stride,
                      .step = -dilation / common},
          .first_tap = first_tap,
          .tap_step = tap_step};
}

// A: row c, k = (o, tap of the phase). The taps of one (o, c) lie side by side, at stride 1 all of them.
struct TurnedWeights {
  const float* data;
  int64_t part_step;
  int rows, depth;
  int row_step, output_step, tap_step_h, tap_step_w;
  Divisor taps, taps_w;
  static constexpr bool along_k = true;
  static constexpr int vector = 1;
  __device__ __forceinline__ Place row(int c) const { return {c * row_step, kRow}; }
  __device__ __forceinline__ Place k(int k) const {
    const int o = taps.divide(k), h = taps_w.divide(k), w = k;
    return {o * output_step + h * tap_step_h + w * tap_step_w, kDepth};
  }
};

// B: columns are the phase's pixels, k as above.
using PhaseProduct = TileProduct<TurnedWeights, Windows>;
PhaseProduct phase_product(const float* dy, const float* w, const Conv2dSizes& s, int phase_h, int phase_w) {
  const PhaseAxis v = phase_axis(phase_h, s.h, s.oh, s.kh, s.stride_h, s.padding_h, s.dilation_h),
                  u = phase_axis(phase_w, s.w, s.ow, s.kw, s.stride_w, s.padding_w, s.dilation_w);
  const WindowGrid grid(v.windows, u.windows, s.o * s.oh * s.ow);
  const int window = s.kh * s.kw, pixels = v.windows.windows * u.windows.windows, plane = s.h * s.w;
  const int depth = s.og * v.windows.taps * u.windows.taps;
  return {
      .a = {.data = w + v.first_tap * s.kw + u.first_tap,
            .part_step = int64_t{s.og} * s.cg * window,
            .rows = s.cg,
            .depth = depth,
            .row_step = window,
            .output_step = s.cg * window,
            .tap_step_h = v.tap_step * s.kw,
            .tap_step_w = u.tap_step,
            .taps = grid.taps,
            .taps_w = grid.taps_w},
      .b = {.data = dy, .part_step = int64_t{s.og} * s.oh * s.ow, .rows = s.n * pixels, .depth = depth, .grid = grid},
      .y = {.first = phase_h * s.w + phase_w,
            .part_step = int64_t{s.cg} * plane,
            .row_step = plane,
            .vector = s.stride_h == 1 && s.stride_w == 1 && plane % 4 == 0 ? 4 : 1,
            .picture = grid.windows,
            .line = grid.windows_w,
            .picture_step = s.c * plane,
            .line_step = s.stride_h * s.w,
            .column_step = s.stride_w}};
}

}  // namespace

void conv2d_input_grad_implicit_gemm(Precision precision, const Tensor& dy, const Tensor& w, const Conv2dParams& p,
                                     Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  if (is_pointwise(s)) return pointwise_product(precision, dy, w, true, {}, dx);
  std::vector<PhaseProduct> phases;
  for (int h = 0; h < s.stride_h; ++h) {
    for (int v = 0; v < s.stride_w; ++v) phases.push_back(phase_product(dy.data<float>(), w.data<float>(), s, h, v));
  }
  constexpr int kInOneLaunch = 4;  // all of stride 2
  tiled_matmul<kInOneLaunch>(precision, s.groups, std::move(phases), dx);
}

}  // namespace asap::cuda
