// The differentiable ops: the names of tensor/ops.h on Variables, plus the usual compositions. Each is implemented beside
// its gradient in ops_*.cpp. A Tensor converts to a Variable without gradient, so constants need no wrapping.
// Shapes and errors are those of tensor/ops.h.
#pragma once

#include "autograd/variable.h"
#include "tensor/random.h"

namespace asap {

// ---- elementwise (ops_elementwise.cpp); binary ops broadcast ------------------------------------------------------------
Variable add(const Variable& a, const Variable& b);
Variable sub(const Variable& a, const Variable& b);
Variable mul(const Variable& a, const Variable& b);
Variable div(const Variable& a, const Variable& b);
Variable maximum(const Variable& a, const Variable& b);  // ties: half the gradient to each
Variable minimum(const Variable& a, const Variable& b);
Variable affine(const Variable& x, double scale, double shift);  // scale * x + shift
Variable relu(const Variable& x);
Variable leaky_relu(const Variable& x, double slope = 0.01);
Variable tanh(const Variable& x);
Variable sigmoid(const Variable& x);
Variable softplus(const Variable& x);
Variable exp(const Variable& x);
Variable log(const Variable& x);
Variable sqrt(const Variable& x);
Variable abs(const Variable& x);
Variable square(const Variable& x);
Variable sin(const Variable& x);
Variable cos(const Variable& x);
Variable pow(const Variable& x, double exponent);
Variable clamp(const Variable& x, double low, double high);
Variable erf(const Variable& x);
// x * P(X <= x) of a standard normal X (Hendrycks & Gimpel 2016), by erf or by their approximation with tanh.
Variable gelu(const Variable& x, bool tanh_approximation = false);
Variable silu(const Variable& x);  // x * sigmoid(x)
// condition != 0 ? a : b. What is not taken gets gradient 0, whatever it is.
Variable where(const Tensor& condition, const Variable& a, const Variable& b);
// Zeros a share p of the elements, in [0,1), and scales the others by 1 / (1 - p) (Srivastava et al. 2014). Takes x.numel()
// numbers of the stream: the same on every device.
Variable dropout(const Variable& x, double p, RandomStream& random);
inline Variable operator+(const Variable& a, const Variable& b) { return add(a, b); }
inline Variable operator-(const Variable& a, const Variable& b) { return sub(a, b); }
inline Variable operator*(const Variable& a, const Variable& b) { return mul(a, b); }
inline Variable operator/(const Variable& a, const Variable& b) { return div(a, b); }
inline Variable operator+(const Variable& a, double b) { return affine(a, 1, b); }
inline Variable operator+(double a, const Variable& b) { return affine(b, 1, a); }
inline Variable operator-(const Variable& a, double b) { return affine(a, 1, -b); }
inline Variable operator-(double a, const Variable& b) { return affine(b, -1, a); }
inline Variable operator*(const Variable& a, double b) { return affine(a, b, 0); }
inline Variable operator*(double a, const Variable& b) { return affine(b, a, 0); }
inline Variable operator/(const Variable& a, double b) { return affine(a, 1 / b, 0); }
inline Variable operator-(const Variable& a) { return affine(a, -1, 0); }

// ---- shape (ops_shape.cpp): views where the values lie contiguously -----------------------------------------------------
Variable reshape(const Variable& x, const Shape& shape);
Variable reshape(const Variable& x, std::initializer_list<int64_t> sizes);  // one size may be -1
// In another floating type, and layout; the gradient comes back in x's type.
Variable convert(const Variable& x, DType dtype);
Variable convert(const Variable& x, DType dtype, Layout layout);
Variable permute(const Variable& x, const std::vector<int>& dims);
Variable transpose(const Variable& x, int d0, int d1);
Variable slice(const Variable& x, int dim, int64_t start, int64_t end, int64_t step = 1);
// Parts of the given sizes along dim; the sizes must add up to x's.
std::vector<Variable> split(const Variable& x, const std::vector<int64_t>& sizes, int dim);
Variable expand(const Variable& x, const Shape& shape);
Variable cat(const std::vector<Variable>& xs, int dim);
inline Variable cat(std::initializer_list<Variable> xs, int dim) { return cat(std::vector<Variable>(xs), dim); }
// Along a new dimension.
Variable stack(const std::vector<Variable>& xs, int dim);
Variable unsqueeze(const Variable& x, int dim);
Variable squeeze(const Variable& x, int dim);
Variable gather(const Variable& x, int dim, const Tensor& index);
// Rows of w [V,D] by indices i32 or u8 of any shape -> [...,D]. On the CPU an index outside 0..V-1 throws.
Variable embedding(const Tensor& indices, const Variable& w);

// ---- reductions and softmax (ops_reduce.cpp) ------------------------------------------------------------------------------
Variable sum(const Variable& x, const std::vector<int>& dims = {}, bool keepdim = false);
Variable mean(const Variable& x, const std::vector<int>& dims = {}, bool keepdim = false);
Variable max(const Variable& x, const std::vector<int>& dims = {}, bool keepdim = false);  // ties share the gradient
Variable softmax(const Variable& x, int dim);
Variable log_softmax(const Variable& x, int dim);

// ---- linear algebra and convolution (ops_matmul.cpp, ops_attention.cpp, ops_conv2d.cpp) --------------------------------------
Variable matmul(const Variable& a, const Variable& b, bool transpose_a = false, bool transpose_b = false);
// x [...,in], w [out,in], bias [out] or undefined -> [...,out]
Variable linear(const Variable& x, const Variable& w, const Variable& bias);
// softmax(q k^T / sqrt(D) + mask) v (Vaswani et al. 2017): q [...,L,D], k [...,S,D], v [...,S,E] -> [...,L,E]. mask, which
// broadcasts to [...,L,S], may be undefined; -inf hides. causal: query i sees keys 0..i. A query that sees no key gives NaN.
Variable scaled_dot_product_attention(const Variable& q, const Variable& k, const Variable& v, const Variable& mask = {},
                                      bool causal = false);
Variable conv2d(const Variable& x, const Variable& w, const Variable& bias, const Conv2dParams& params = {});
struct Conv1dParams {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  PadMode pad_mode = PadMode::zero;
};
// x [N,C,L], w [O,C/groups,K], bias [O] or undefined -> [N,O,OL]
Variable conv1d(const Variable& x, const Variable& w, const Variable& bias, const Conv1dParams& params = {});
// x [N,C,H,W], w [C,O/groups,KH,KW], bias [O] or undefined -> [N,O,OH,OW], conv_transpose2d_shape.
Variable conv_transpose2d(const Variable& x, const Variable& w, const Variable& bias, const ConvTranspose2dParams& params = {});

// ---- normalisation (ops_norm.cpp) ------------------------------------------------------------------------------------------
Variable instance_norm(const Variable& x, const Variable& gamma, const Variable& beta, const NormParams& params = {});
// instance_norm(conv2d(x, w)) without bias: where no gradient is recorded, in one kernel.
Variable conv2d_instance_norm(const Variable& x, const Variable& w, const Variable& gamma, const Variable& beta,
                              const Conv2dParams& conv_params = {}, const NormParams& norm_params = {});
struct BatchNormResult {
  Variable y;
  Tensor mean, rstd;  // of this batch, [C], without gradient: for running statistics
};
BatchNormResult batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, const NormParams& params = {});

// Over the last dimensions, which are `normalized` (Ba et al. 2016). gamma, beta of that shape, each may be undefined.
Variable layer_norm(const Variable& x, const Shape& normalized, const Variable& gamma, const Variable& beta, double eps = 1e-5);
// Of x [N,C,...] over the channels of each group and all that follows (Wu & He 2018). gamma, beta [C], each may be undefined.
Variable group_norm(const Variable& x, int64_t groups, const Variable& gamma, const Variable& beta, double eps = 1e-5);

// ---- padding, pooling, resizing, sampling (ops_pad.cpp, ops_pool.cpp, ops_resize.cpp, ops_grid_sample.cpp) ---------------
Variable pad2d(const Variable& x, const Pad2dParams& params);
Variable avg_pool2d(const Variable& x, const Pool2dParams& params);
Variable max_pool2d(const Variable& x, const Pool2dParams& params);
// Means of OH x OW windows: window i of an axis of n pixels is floor(i n / OH) .. ceil((i + 1) n / OH) - 1.
Variable adaptive_avg_pool2d(const Variable& x, Size2 size);
Variable resize2d(const Variable& x, Size2 size, ResizeMode mode);
Variable grid_sample(const Variable& x, const Variable& grid, const GridSampleParams& params = {});

// ---- ASAPNet's per-tile MLP (ops_tile_mlp.cpp) ----------------------------------------------------------------------------------
Variable tile_mlp(const Tensor& labels, const Variable& x, const Variable& phi, const TileMlpParams& params);

// ---- losses (ops_loss.cpp): means over all elements, one-element results --------------------------------------------------------
Variable l1_loss(const Variable& a, const Variable& b);
Variable mse_loss(const Variable& a, const Variable& b);
// Binary cross-entropy of sigmoid(logits) with target in [0,1], stable for any logit.
Variable bce_with_logits(const Variable& logits, const Variable& target);
// logits [N,C] or [N,C,...], labels i32 or u8 [N] or [N,...] in 0..C-1. Labels equal to ignore_index count nowhere: the mean is
// over the others, NaN if there are none. On the CPU a label that is neither throws. label_smoothing e, in [0,1]: the target is
// 1 - e + e/C at the label and e/C elsewhere (Szegedy et al. 2016).
Variable cross_entropy(const Variable& logits, const Tensor& labels, int64_t ignore_index = -100, double label_smoothing = 0);

}  // namespace asap
