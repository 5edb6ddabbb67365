// Convolution forward as a matrix product (implicit GEMM): y [O, pixels] = w [O, C*KH*KW] times the windows
// [C*KH*KW, pixels] of x. Floor: 2 * O * pixels * C*KH*KW operations, or one reading of x, w and one writing of y. Where O and
// the pixels make few tiles (1024 channels at 16 x 16), the weights are most of the bytes and K is split over blocks.
// 1x1 windows need no windows at all. Bias and activation go with the store. Next: conv2d_input_grad.cu.
#include "cuda/conv2d_operands.cuh"
#include "cuda/matmul.h"

namespace asap::cuda {
namespace {

// A: a row's weights side by side.
struct Weights {
  const float* data;
  int rows, depth;
  int vector;
  static constexpr bool along_k = true;
  __device__ __forceinline__ void begin(int group) { data += static_cast<int64_t>(group) * rows * depth; }
  __device__ __forceinline__ Place row(int r) const { return {r * depth, kRow}; }
  __device__ __forceinline__ Place k(int k) const { return {k, kDepth}; }
};

struct Outputs : ChannelRows {
  float* data;
  int vector;
  int64_t group_step;
  int group_channels;
  Epilogue<float> epilogue;
  __device__ __forceinline__ void begin(int group) {
    data += group * group_step;
    if (epilogue.bias) epilogue.bias += group * group_channels;
  }
};

// y[n] = w x[n].
MatrixProduct pointwise_product(const Tensor& x, const Tensor& w, const Conv2dSizes& s,
                                const Epilogue<float>& epilogue = {}) {
  const int64_t pixels = int64_t{s.h} * s.w;
  return {.a = w.data<float>(),
          .b = x.data<float>(),
          .batch = s.n,
          .m = s.o,
          .n = pixels,
          .k = s.c,
          .step_a = 0,
          .step_b = s.c * pixels,
          .params = {},
          .epilogue = epilogue};
}

TilePlan plan(Precision precision, const Conv2dSizes& s, bool may_split) {
  return plan_tiles(precision, s.og, int64_t{s.n} * s.oh * s.ow, int64_t{s.cg} * s.kh * s.kw, s.groups, may_split);
}

}  // namespace

bool splits_conv2d_forward(Precision precision, const Tensor& x, const Tensor& w, const Conv2dParams& p,
                           const Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  return is_pointwise(s) ? splits_matrix_product(precision, pointwise_product(x, w, s))
                         : plan(precision, s, true).splits > 1;
}

void conv2d_forward_implicit_gemm(Precision precision, bool may_split, const Tensor& x, const Tensor& w,
                                  const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  const Epilogue<float> epilogue(bias, p.activation_slope);
  if (is_pointwise(s)) return matrix_product(precision, may_split, pointwise_product(x, w, s, epilogue), y);
  const int depth = s.cg * s.kh * s.kw, pixels = s.oh * s.ow;
  const float* weights = w.data<float>();
  const Weights a{
      .data = weights, .rows = s.og, .depth = depth, .vector = depth % 4 == 0 && is_aligned(weights) ? 4 : 1};
  const Windows b{.data = x.data<float>(),
                  .rows = s.n * pixels,
                  .depth = depth,
                  .group_step = int64_t{s.cg} * s.h * s.w,
                  .grid = forward_windows(s),
                  .fold = border_fold(s)};
  const Outputs result{output_channels(s),
                       y.data<float>(),
                       pixels % 4 == 0 && is_aligned(y.raw()) ? 4 : 1,
                       int64_t{s.og} * pixels,
                       s.og,
                       epilogue};
  tiled_matmul(precision, plan(precision, s, may_split), s.groups, a, b, result, y);
}

}  // namespace asap::cuda
