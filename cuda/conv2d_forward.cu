// Convolution forward as a matrix product (implicit GEMM): y [O, pixels] = w [O, C*KH*KW] times the windows
// [C*KH*KW, pixels] of x. Floor: 2 * O * pixels * C*KH*KW operations, or one reading of x, w and one writing of y. Where O and
// the pixels make few tiles (1024 channels at 16 x 16), the weights are most of the bytes and K is split over blocks.
// 1x1 windows need no windows at all. Bias and activation go with the store. Next: conv2d_input_grad.cu.
#include "cuda/conv2d_operands.cuh"

namespace asap::cuda {
namespace {

// A: a row's weights side by side, which is known when the kernel is compiled.
struct Weights : Matrix {
  static constexpr bool along_k = true;
};

}  // namespace

void conv2d_forward_implicit_gemm(Precision precision, const Tensor& x, const Tensor& w, const Tensor& bias,
                                  const Conv2dParams& p, Tensor& y) {
  const Conv2dSizes s = conv2d_sizes(x, w, p, y);
  const Epilogue<float> epilogue(bias, p.activation_slope);
  if (is_pointwise(s)) return pointwise_product(precision, x, w, false, epilogue, y);
  const PaddedWindows b = padded_windows(x, s);
  const Weights a{matrix(w.data<float>(), s.og, b.depth, false, int64_t{s.og} * b.depth)};
  const int pixels = s.oh * s.ow;
  const TileResult result{.part_step = int64_t{s.og} * pixels,
                          .row_step = pixels,
                          .vector = pixels % 4 == 0 ? 4 : 1,
                          .bias_step = s.og,
                          .picture = Divisor(pixels),
                          .picture_step = s.o * pixels,
                          .epilogue = epilogue};
  tiled_matmul<1, Weights, PaddedWindows>(precision, s.groups, {{a, b, result}}, y);
}

}  // namespace asap::cuda
