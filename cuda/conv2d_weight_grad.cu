// Convolution's weight gradient as a matrix product: dw [O, C*KH*KW] = dy [O, pixels] times the windows of x, turned:
// [pixels, C*KH*KW]. A short matrix with a very long inner dimension, all pixels of all pictures, which is therefore split over
// blocks; the partial sums are added in a fixed order.
// Floor: the operations of the forward pass, or one reading of x, dy and one writing of dw. Next: pool.cu.
#include "cuda/conv2d_operands.cuh"

namespace asap::cuda {
namespace {

// A: row o, k = (picture, pixel).
struct OutputGrads : ChannelRows {
  const float* data;
  int rows, depth;
  int vector;
  int64_t group_step;
  static constexpr bool along_k = true;
  __device__ __forceinline__ void begin(int group) { data += group * group_step; }
  __device__ __forceinline__ Place row(int o) const { return {ChannelRows::row(o), kRow}; }
  __device__ __forceinline__ Place k(int k) const { return {column(k), kDepth}; }
};

// B: columns are the elements of a window, k the windows: Windows with its two sides exchanged. Memory runs along k.
struct WindowElements {
  const float* data;
  int rows, depth;
  int64_t group_step;
  WindowGrid grid;
  BorderFold fold;
  static constexpr bool along_k = true;
  static constexpr int vector = 1;
  __device__ __forceinline__ void begin(int group) { data += group * group_step; }
  __device__ __forceinline__ Place row(int r) const { return grid.element(r); }
  __device__ __forceinline__ Place k(int k) const { return grid.window(k); }
};

struct WeightGrads {
  float* data;
  int columns, vector;
  int64_t group_step;
  __device__ __forceinline__ void begin(int group) { data += group * group_step; }
  __device__ __forceinline__ int row(int o) const { return o * columns; }
  __device__ __forceinline__ int column(int r) const { return r; }
};

}  // namespace

void conv2d_weight_grad_implicit_gemm(Precision precision, const Tensor& x, const Tensor& dy, const Conv2dParams& p,
                                      Tensor& dw) {
  const Conv2dSizes s = conv2d_sizes(x, dw, p, dy);
  const int pixels = s.oh * s.ow, depth = s.n * pixels, elements = s.cg * s.kh * s.kw;
  const OutputGrads a{
      output_channels(s),    dy.data<float>(), s.og, depth, pixels % 4 == 0 && is_aligned(dy.raw()) ? 4 : 1,
      int64_t{s.og} * pixels};
  const WindowElements b{.data = x.data<float>(),
                         .rows = elements,
                         .depth = depth,
                         .group_step = int64_t{s.cg} * s.h * s.w,
                         .grid = forward_windows(s),
                         .fold = border_fold(s)};
  const WeightGrads result{.data = dw.data<float>(),
                           .columns = elements,
                           .vector = elements % 4 == 0 && is_aligned(dw.raw()) ? 4 : 1,
                           .group_step = int64_t{s.og} * elements};
  tiled_matmul(precision, plan_tiles(precision, s.og, elements, depth, s.groups, true), s.groups, a, b, result, dw);
}

}  // namespace asap::cuda
