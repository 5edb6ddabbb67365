// Convolution's input gradient as a matrix product: dx [C, pixels] = w turned, [C, O * taps], times windows of dy. With a
// stride, neighbouring pixels were seen through different taps: 3x3 of stride 2 saw a pixel through 4, 2, 2 or 1 of its 9.
// So the pixels are parted into stride.h * stride.w phases, (ih mod stride.h, iw mod stride.w): within one, all have the same
// taps, and its product is no deeper than they are. The phases run side by side in one launch.
// Floor: the operations of the forward pass, or one reading of dy, w and one writing of dx. Next: conv2d_weight_grad.cu.
#include <numeric>

#include "cuda/conv2d_operands.cuh"
#include "cuda/matmul.h"

namespace asap::cuda {
namespace {

// One dimension: which pixels and taps a phase has. A tap k meets pixel i of dx where i + padding - k*dilation is a multiple
// of the stride, namely stride times the row of dy: so every tap_step-th from `first_tap` on, if any.
struct PhaseAxis {
  int size, outputs, kernel;  // of dx, dy, w
  int stride, padding, dilation;
  int tap_step,
      source_step;  // stride / gcd(stride, dilation), dilation / gcd: from one of the phase's taps to its next

  __device__ int first_tap(int phase) const {
    for (int tap = 0; tap < min(tap_step, kernel); ++tap) {
      if ((phase + padding - tap * dilation) % stride == 0) return tap;
    }
    return kernel;
  }
  // The phase's pixels as windows of dy: pixel `phase + i*stride` sees rows first + i - tap*source_step of it.
  __device__ WindowAxis windows(int phase, int first_tap) const {
    return {.size = outputs,
            .windows = max(0, (size - phase + stride - 1) / stride),
            .taps = (kernel - first_tap + tap_step - 1) / tap_step,
            .stride = 1,
            .first = (phase + padding - first_tap * dilation) / stride,
            .step = -source_step};
  }
};

// What a block needs to know of its part: group, then phase.
struct Phases {
  PhaseAxis h, w;
  int o, og, cg;  // channels of dy, and of a group of dy and dx
  __device__ __forceinline__ int group(int part) const { return part / (h.stride * w.stride); }
  __device__ __forceinline__ int phase_h(int part) const { return part / w.stride % h.stride; }
  __device__ __forceinline__ int phase_w(int part) const { return part % w.stride; }
};

// A: row c, k = (o, tap of the phase). The taps of one (o, c) lie side by side, at stride 1 all of them.
struct TurnedWeights {
  Phases phases;
  const float* data;
  int rows = 0, depth = 0;
  int first = 0;  // w[0][0][first tap]
  Divider taps{}, taps_w{};
  static constexpr bool along_k = true;
  static constexpr int vector = 1;
  __device__ __forceinline__ void begin(int part) {
    const int tap_h = phases.h.first_tap(phases.phase_h(part)), tap_w = phases.w.first_tap(phases.phase_w(part));
    const int count_h = phases.h.windows(0, tap_h).taps, count_w = phases.w.windows(0, tap_w).taps;
    rows = phases.cg;
    depth = phases.og * count_h * count_w;
    first = tap_h * phases.w.kernel + tap_w;
    data += static_cast<int64_t>(phases.group(part)) * phases.og * phases.cg * window();
    taps = Divider(max(1, count_h * count_w));
    taps_w = Divider(max(1, count_w));
  }
  __device__ __forceinline__ Place row(int c) const { return {c * window(), kRow}; }
  __device__ __forceinline__ Place k(int k) const {
    const int o = taps.divide(k), h = taps_w.divide(k), w = k;
    return {o * phases.cg * window() + first + h * phases.h.tap_step * phases.w.kernel + w * phases.w.tap_step, kDepth};
  }
  __device__ __forceinline__ int window() const { return phases.h.kernel * phases.w.kernel; }
};

// B: columns are the phase's pixels, k as above.
struct PhaseWindows {
  Phases phases;
  const float* data;
  WindowGrid grid;
  int rows = 0, depth = 0;
  static constexpr bool along_k = false;
  static constexpr int vector = 1;
  PhaseWindows(const Phases& p, const float* dy, int pictures)
      : phases(p), data(dy), grid({}, {}, p.o * p.h.outputs * p.w.outputs), rows(pictures) {}
  __device__ __forceinline__ void begin(int part) {
    const int phase_h = phases.phase_h(part), phase_w = phases.phase_w(part);
    grid.h = phases.h.windows(phase_h, phases.h.first_tap(phase_h));
    grid.w = phases.w.windows(phase_w, phases.w.first_tap(phase_w));
    depth = phases.og * grid.h.taps * grid.w.taps;
    rows *= grid.h.windows * grid.w.windows;
    data += static_cast<int64_t>(phases.group(part)) * phases.og * phases.h.outputs * phases.w.outputs;
    if (rows > 0) grid.count_windows();
    if (depth > 0) grid.count_taps();
  }
  __device__ __forceinline__ Place row(int r) const { return grid.window(r); }
  __device__ __forceinline__ Place k(int k) const { return grid.element(k); }
};

struct PhasePixels {
  Phases phases;
  float* data;
  int vector, picture_step;
  Divider by_windows{}, by_windows_w{};
  __device__ __forceinline__ int plane() const { return phases.h.size * phases.w.size; }
  __device__ __forceinline__ void begin(int part) {
    const int phase_h = phases.phase_h(part), phase_w = phases.phase_w(part);
    by_windows_w = Divider(phases.w.windows(phase_w, 0).windows);
    by_windows = Divider(phases.h.windows(phase_h, 0).windows * static_cast<int>(by_windows_w.value));
    data += static_cast<int64_t>(phases.group(part)) * phases.cg * plane() + phase_h * phases.w.size + phase_w;
  }
  __device__ __forceinline__ int row(int c) const { return c * plane(); }
  __device__ __forceinline__ int column(int r) const {
    const int picture = by_windows.divide(r), h = by_windows_w.divide(r), w = r;
    return picture * picture_step + h * phases.h.stride * phases.w.size + w * phases.w.stride;
  }
};

PhaseAxis phase_axis(int size, int outputs, int kernel, int stride, int padding, int dilation) {
  const int common = std::gcd(stride, dilation);
  return {.size = size,
          .outputs = outputs,
          .kernel = kernel,
          .stride = stride,
          .padding = padding,
          .dilation = dilation,
          .tap_step = stride / common,
          .source_step = dilation / common};
}

// dx[n] = w^T dy[n].
MatrixProduct pointwise_product(const Tensor& dy, const Tensor& w, const Conv2dSizes& s) {
  const int64_t pixels = int64_t{s.h} * s.w;
  return {.a = w.data<float>(),
          .b = dy.data<float>(),
          .batch = s.n,
          .m = s.c,
          .n = pixels,
          .k = s.o,
          .step_a = 0,
          .step_b = s.o * pixels,
          .params = {.transpose_a = true}};
}

// As deep as the phase with the most taps, as wide as that with the most pixels.
TilePlan plan(Precision precision, const Conv2dSizes& s, bool may_split) {
  const auto taps = [](int kernel, int stride, int dilation) {
    return ceil_div(kernel, stride / std::gcd(stride, dilation));
  };
  const int64_t pixels = ceil_div(s.h, s.stride_h) * ceil_div(s.w, s.stride_w);
  const int64_t depth = s.og * taps(s.kh, s.stride_h, s.dilation_h) * taps(s.kw, s.stride_w, s.dilation_w);
  return plan_tiles(precision, s.cg, s.n * pixels, depth, int64_t{s.groups} * s.stride_h * s.stride_w, may_split);
}

}  // namespace

bool splits_conv2d_input_grad(Precision precision, const Tensor& dy, const Tensor& w, const Conv2dParams& p,
                              const Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  return is_pointwise(s) ? splits_matrix_product(precision, pointwise_product(dy, w, s))
                         : plan(precision, s, true).splits > 1;
}

void conv2d_input_grad_implicit_gemm(Precision precision, bool may_split, const Tensor& dy, const Tensor& w,
                                     const Conv2dParams& p, Tensor& dx) {
  const Conv2dSizes s = conv2d_sizes(dx, w, p, dy);
  if (is_pointwise(s)) return matrix_product(precision, may_split, pointwise_product(dy, w, s), dx);
  const Phases phases{.h = phase_axis(s.h, s.oh, s.kh, s.stride_h, s.padding_h, s.dilation_h),
                      .w = phase_axis(s.w, s.ow, s.kw, s.stride_w, s.padding_w, s.dilation_w),
                      .o = s.o,
                      .og = s.og,
                      .cg = s.cg};
  const TurnedWeights a{.phases = phases, .data = w.data<float>()};
  const PhaseWindows b(phases, dy.data<float>(), s.n);
  const bool whole_rows = s.stride_h == 1 && s.stride_w == 1 && s.h * s.w % 4 == 0 && is_aligned(dx.raw());
  const PhasePixels result{
      .phases = phases, .data = dx.data<float>(), .vector = whole_rows ? 4 : 1, .picture_step = s.c * s.h * s.w};
  tiled_matmul(precision, plan(precision, s, may_split), int64_t{s.groups} * s.stride_h * s.stride_w, a, b, result, dx);
}

}  // namespace asap::cuda
