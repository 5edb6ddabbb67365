// The checked tensor API without gradients: each op checks its arguments, computes the output shape, allocates and calls
// its kernel slot. Non-contiguous inputs are packed first where the kernel needs that. All arguments must be on one device.
// The same names with gradients are in autograd/ops.h. Errors: asap::Error `op: what was expected, what came`.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "tensor/kernels.h"

namespace asap {

struct Pad2dParams {
  PadMode mode = PadMode::zero;
  int64_t left = 0, right = 0, top = 0, bottom = 0;
};

// The convolution whose input gradient a transposed convolution is, and rows and columns added at the bottom and the right of
// its output, fewer than the stride: those that the convolution would not read.
struct ConvTranspose2dParams {
  Size2 stride = 1, padding = 0, output_padding = 0, dilation = 1;
  int64_t groups = 1;
};

// ---- shape functions: one per op, used by the op, the tests and the benchmarks ----------------------------------------
Shape conv2d_shape(const Shape& x, const Shape& w, const Conv2dParams&);
// x [N,C,H,W], w [C,O/groups,KH,KW] -> [N,O,OH,OW], OH = (H - 1) * stride.h - 2 * padding.h + dilation.h * (KH - 1) + 1 +
// output_padding.h
Shape conv_transpose2d_shape(const Shape& x, const Shape& w, const ConvTranspose2dParams&);
Shape matmul_shape(const Shape& a, const Shape& b);
Shape pad2d_shape(const Shape& x, const Pad2dParams&);
Shape pool2d_shape(const Shape& x, const Pool2dParams&);
Shape cat_shape(const std::vector<Shape>& xs, int dim);
// `dims` empty means all; keepdim leaves sizes of 1.
Shape reduce_shape(const Shape& x, const std::vector<int>& dims, bool keepdim);
// Channels of phi that an MLP on `channels` inputs per pixel (classes and channels of x) reads; throws unless tile is a power
// of two.
int64_t tile_mlp_parameters(int64_t channels, const TileMlpParams&);
Shape tile_mlp_shape(const Shape& x, const Shape& phi, const TileMlpParams&);  // x's channels: classes too
Shape picture_shape(const Shape& values);                                       // [N,C,H,W] -> [N,H,W,C]
Shape label_planes_shape(const Shape& labels, bool instance, const LabelPlanesParams&);

// ---- elementwise ------------------------------------------------------------------------------------------------------
Tensor unary(UnaryOp op, const Tensor& x, const UnaryParams& params = {});
Tensor unary_backward(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params = {});
Tensor binary(BinaryOp op, const Tensor& a, const Tensor& b);  // broadcasts
inline Tensor add(const Tensor& a, const Tensor& b) { return binary(BinaryOp::add, a, b); }
inline Tensor sub(const Tensor& a, const Tensor& b) { return binary(BinaryOp::sub, a, b); }
inline Tensor mul(const Tensor& a, const Tensor& b) { return binary(BinaryOp::mul, a, b); }
inline Tensor div(const Tensor& a, const Tensor& b) { return binary(BinaryOp::div, a, b); }
// condition != 0 ? a : b, broadcast; condition of any dtype. What is not taken is not looked at: a NaN there stays out.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
// scale * x + shift
Tensor affine(const Tensor& x, double scale, double shift);
// y += x, in place; equal shapes. Bumps y's version. y may not be an expanded view.
void add_into(const Tensor& x, Tensor& y);
// Sums x over the dimensions by which `shape` was broadcast to x's shape: the gradient of expand.
Tensor sum_to(const Tensor& x, const Shape& shape, std::optional<DType> dtype = {});

// ---- reductions, indexing -----------------------------------------------------------------------------------------
// The result is of x's dtype unless another is given: gradients of f32 parameters sum bf16.
Tensor reduce(ReduceOp op, const Tensor& x, const std::vector<int>& dims = {}, bool keepdim = false,
              std::optional<DType> dtype = {});
Tensor sum(const Tensor& x, const std::vector<int>& dims = {}, bool keepdim = false, std::optional<DType> dtype = {});
Tensor mean(const Tensor& x, const std::vector<int>& dims = {}, bool keepdim = false);
Tensor max(const Tensor& x, const std::vector<int>& dims = {}, bool keepdim = false);
// Where x, of any dtype, is largest along dim, i32: the first place on ties, a NaN before all numbers.
Tensor argmax(const Tensor& x, int dim, bool keepdim = false);
// y[..,j,..] = x[.., index[..,j,..], ..] along dim; index i32 with x's shape except along dim. Throws for an index outside.
Tensor gather(const Tensor& x, int dim, const Tensor& index);
Tensor gather_backward(const Tensor& dy, int dim, const Tensor& index, const Shape& x_shape);

// ---- joining ---------------------------------------------------------------------------------------------------------
Tensor cat(const std::vector<Tensor>& xs, int dim);
inline Tensor cat(std::initializer_list<Tensor> xs, int dim) { return cat(std::vector<Tensor>(xs), dim); }

// ---- matrix product: [M,K][K,N]; the dimensions in front of those two are batches, which broadcast ----------------------
// Beside a bf16 a, b may be f32: it is rounded. y has a's dtype, unless another is given, as for the gradient of an f32 b.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false,
              std::optional<DType> dtype = {});

// ---- convolution -----------------------------------------------------------------------------------------------------
// bias [O] may be undefined; beside a bf16 x it is f32, and w may be: it is rounded. dw has x's dtype, unless another is given.
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& params = {});
Tensor conv2d_input_grad(const Tensor& dy, const Tensor& w, const Shape& x_shape, const Conv2dParams& params);
Tensor conv2d_weight_grad(const Tensor& x, const Tensor& dy, const Shape& w_shape, const Conv2dParams& params,
                          std::optional<DType> dtype = {});

// ---- normalisation ---------------------------------------------------------------------------------------------------
struct NormResult {
  Tensor y, mean, rstd;
};
struct NormGrads {
  Tensor dx, dgamma, dbeta;
};
// gamma, beta [C], both defined or both undefined; they, statistics and their gradients are f32 beside a bf16 x.
NormResult instance_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params = {});
NormGrads instance_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                 const Tensor& rstd, const Tensor& dy, const NormParams& params);
// instance_norm of conv2d(x, w) without bias, in one kernel, and its y alone. gamma, beta [O].
Tensor conv2d_instance_norm(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta,
                            const Conv2dParams& conv_params = {}, const NormParams& norm_params = {});
NormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params = {});
NormGrads batch_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                              const Tensor& rstd, const Tensor& dy, const NormParams& params);

// ---- padding, pooling, resizing ----------------------------------------------------------------------------------------
Tensor pad2d(const Tensor& x, const Pad2dParams& params);
Tensor pad2d_backward(const Tensor& dy, const Shape& x_shape, const Pad2dParams& params);
Tensor avg_pool2d(const Tensor& x, const Pool2dParams& params);
Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, const Pool2dParams& params);
struct MaxPoolResult {
  Tensor y, index;
};
MaxPoolResult max_pool2d(const Tensor& x, const Pool2dParams& params);
// Throws for an index outside of its plane, on the CPU; a card's kernels ignore it.
Tensor max_pool2d_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape, const Pool2dParams& params);
Tensor resize2d(const Tensor& x, Size2 size, ResizeMode mode);
Tensor resize2d_backward(const Tensor& dy, const Shape& x_shape, ResizeMode mode);
// x [N,C,H,W] at the positions of grid [N,OH,OW,2] (kernels.h), which is f32 beside a bf16 x -> [N,C,OH,OW].
Tensor grid_sample(const Tensor& x, const Tensor& grid, const GridSampleParams& params = {});
struct GridSampleGrads {
  Tensor dx, dgrid;  // undefined unless wanted
};
GridSampleGrads grid_sample_backward(const Tensor& x, const Tensor& grid, const Tensor& dy, const GridSampleParams& params,
                                     bool want_dx, bool want_dgrid);

// ---- label maps [N,H,W], i32 or u8 -------------------------------------------------------------------------------------
// [N,classes,H,W]; throws for labels outside 0..classes-1.
Tensor one_hot(const Tensor& labels, int64_t classes, DType dtype = DType::f32);
// One-hot planes and the instance channel (may be undefined), downsampled. Labels outside 0..classes-1 are zeros.
Tensor label_planes(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& params, DType dtype = DType::f32,
                    Layout layout = Layout::row_major);
// Number of the first label outside 0..classes-1 that is not `ignored`, in row-major order; -1: there is none, or the labels
// are on another device, for which a look would wait.
int64_t first_label_outside(const Tensor& labels, int64_t classes, int64_t ignored = 0);

// ---- ASAPNet's per-tile MLP --------------------------------------------------------------------------------------------
// From labels, x or both. f32 and bf16 give f32.
Tensor tile_mlp(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params);
Tensor tile_mlp_picture(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params);  // u8
struct TileMlpGrads {
  Tensor dx, dphi;
};
// dx is left undefined unless wanted.
TileMlpGrads tile_mlp_backward(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                               const TileMlpParams& params, bool want_dx);

// ---- random numbers and optimiser steps ----------------------------------------------------------------------------------
Tensor random_uniform(const Shape& shape, const RandomParams& params, DType dtype = DType::f32, Device device = Device::cpu);
Tensor random_normal(const Shape& shape, const RandomParams& params, DType dtype = DType::f32, Device device = Device::cpu);
// The same into y.
void fill_uniform(Tensor& y, const RandomParams& params);
void fill_normal(Tensor& y, const RandomParams& params);
// Adam's state (AdamState in kernels.h) after `steps` steps.
Tensor adam_state(double lr, int64_t steps = 0, Device device = Device::cpu);
// Begins a step: unless one of `losses` (may be undefined) is not finite, the adam_step calls that follow go.
void adam_begin(const Tensor& losses, const AdamParams& params, Tensor& state);
// The step of any number of parameters, in one kernel call: entry i of each list belongs to parameter i. All must be of one
// dtype and device, no parameter may be listed twice. With beta1 = 0, m is not looked at.
void adam_step(std::span<const Tensor> grads, const AdamParams& params, const Tensor& state, std::span<Tensor> values,
               std::span<Tensor> m, std::span<Tensor> v);
struct SgdParams {
  double lr = 1e-2, momentum = 0, weight_decay = 0;
  bool nesterov = false;
};
// PyTorch's form: velocity = momentum * velocity + g. velocity may be undefined without momentum.
void sgd_step(const Tensor& grad, const SgdParams& params, Tensor& param, Tensor& velocity);

// ---- collectives (kernels.h): x must be contiguous and, on every rank, of one shape and dtype ------------------------------
// x f32 or f64 becomes the sum over the ranks. wire: x's dtype or bf16.
void all_reduce(const World& world, DType wire, Tensor& x);
// x becomes rank 0's.
void broadcast(const World& world, Tensor& x);
// All ranks' x [world.size, ...], on every rank.
Tensor all_gather(const World& world, const Tensor& x);

}  // namespace asap
