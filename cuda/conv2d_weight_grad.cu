// Convolution's weight gradient as a matrix product: dw [O, C*KH*KW] = dy [O, pixels] times the windows of x, turned:
// [pixels, C*KH*KW]. A short matrix with a very long inner dimension, all pixels of all pictures, which is therefore split over
// blocks; the partial sums are added in a fixed order.
// Floor: the operations of the forward pass, or one reading of x, dy and one writing of dw. Next: pool.cu.
#include "cuda/conv2d_operands.cuh"

namespace asap::cuda {
namespace {

// A: row o, k = (picture, pixel).
struct OutputGrads {
  const float* data;
  int64_t part_step;
  int rows, depth;
  int pixels, picture_step;  // of a channel; elements from one picture to the next
  Divisor by_pixels;
  int vector;
  static constexpr bool along_k = true;
  __device__ __forceinline__ Place row(int o) const { return {o * pixels, kRow}; }
  __device__ __forceinline__ Place k(int k) const {
    const int picture = by_pixels.divide(k);
    return {picture * picture_step + k, kDepth};
  }
};

// B: columns are the elements of a window, k the windows: the forward pass's with their two sides exchanged. Memory runs along k.
struct WindowElements : PaddedWindows {
  static constexpr bool along_k = true;
  __device__ __forceinline__ Place row(int r) const { return grid.element(r); }
  __device__ __forceinline__ Place k(int k) const { return grid.window(k); }
};

}  // namespace

void conv2d_weight_grad_implicit_gemm(Precision precision, const Tensor& x, const Tensor& dy, const Conv2dParams& p,
                                      Tensor& dw) {
  const Conv2dSizes s = conv2d_sizes(x, dw, p, dy);
  const int pixels = s.oh * s.ow;
  const OutputGrads a{.data = dy.data<float>(),
                      .part_step = int64_t{s.og} * pixels,
                      .rows = s.og,
                      .depth = s.n * pixels,
                      .pixels = pixels,
                      .picture_step = s.o * pixels,
                      .by_pixels = Divisor(pixels),
                      .vector = pixels % 4 == 0 && is_aligned(dy.raw()) ? 4 : 1};
  WindowElements b{padded_windows(x, s)};
  std::swap(b.rows, b.depth);
  const TileResult result{.part_step = int64_t{s.og} * b.rows, .row_step = b.rows, .vector = b.rows % 4 == 0 ? 4 : 1};
  tiled_matmul<1, OutputGrads, WindowElements>(precision, s.groups, {{a, b, result}}, dw);
}

}  // namespace asap::cuda
