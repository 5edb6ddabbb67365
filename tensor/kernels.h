// The contract between ops and backends: every kernel once, with its params, its C++ signature and its slot.
// Rules: tensors may have any strides and be f64, f32 or bf16; a variant says which it takes (kernel_slot.h). Outputs are
// allocated by the caller, may hold anything (kernels write every element), and do not alias inputs unless said; all tensors
// of a call are on one device. Kernels do not check arguments: ops.h does. Every slot has the variant `naive`: the definition,
// in definitions/. "Element i" of a tensor counts in row-major order, wherever it lies.
// Shapes: N pictures, C channels, H x W, OH x OW output size.  Next: ops.h; cpu/ for the implementations.
#pragma once

#include <span>
#include <string>

#include "tensor/definitions/elementwise_table.h"
#include "tensor/kernel_slot.h"
#include "tensor/tensor.h"

namespace asap {

// ---- fill, copy, random -------------------------------------------------------------------------------------------
using FillFn = void(double value, Tensor& y);        // y strided, any dtype
using CopyFn = void(const Tensor& x, Tensor& y);     // both strided, same shape, dtype converted (C++ static_cast)

// Philox4x32-10 (Salmon et al., SC 2011): element i is a pure function of (seed, offset + i).
struct RandomParams {
  uint64_t seed = 0, offset = 0;
  double a = 0, b = 1;  // uniform: lower and upper bound; normal: mean and standard deviation
};
using RandomFn = void(const RandomParams&, Tensor& y);  // floating y

// ---- elementwise --------------------------------------------------------------------------------------------------
// y = f(x), f one of the rows of definitions/elementwise_table.h. a and b are f's parameters: leaky_relu slope a; affine
// a*x + b; clamp to [a,b]; pow exponent a.
#define ASAP_ENUMERATOR(name, ...) name,
enum class UnaryOp { ASAP_UNARY_OPS(ASAP_ENUMERATOR) };
struct UnaryParams {
  double a = 0, b = 0;
};
using UnaryFn = void(UnaryOp, const Tensor& x, const UnaryParams&, Tensor& y);  // x strided; y may be x itself
// dx = f'(.) * dy. `saved` is y where saves_output(op), else x.
using UnaryBackwardFn = void(UnaryOp, const Tensor& saved, const Tensor& dy, const UnaryParams&, Tensor& dx);
bool saves_output(UnaryOp op);
const char* name(UnaryOp op);

// y = f(a, b), both strided and already expanded to y's shape; comparisons give 0 or 1. y may be a or b itself.
enum class BinaryOp { ASAP_BINARY_OPS(ASAP_ENUMERATOR) };
#undef ASAP_ENUMERATOR
using BinaryFn = void(BinaryOp, const Tensor& a, const Tensor& b, Tensor& y);
const char* name(BinaryOp op);
// y = condition != 0 ? a : b; all expanded to y's shape, a and b of its dtype, condition of any.
using WhereFn = void(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y);

// ---- reductions: x seen as [outer, n, inner], reduced over the middle -------------------------------------------------
struct AxisParams {
  int64_t outer = 1, n = 1, inner = 1;
};
enum class ReduceOp { sum, mean, max };
using ReduceFn = void(ReduceOp, const Tensor& x, const AxisParams&, Tensor& y);  // y [outer, inner]
// y i32 [outer, inner]: where on its line x is largest, the first place on ties; a NaN is larger than any number. x of any dtype.
using ArgmaxFn = void(const Tensor& x, const AxisParams&, Tensor& y);
// y[o,j,i] = x[o, index[o,j,i], i]; index i32 [outer, m, inner]. Backward adds: equal indices accumulate.
using GatherFn = void(const Tensor& x, const Tensor& index, const AxisParams&, Tensor& y);
using GatherBackwardFn = void(const Tensor& dy, const Tensor& index, const AxisParams&, Tensor& dx);

// ---- matrix product -----------------------------------------------------------------------------------------------
struct MatmulParams {
  bool transpose_a = false, transpose_b = false;
};
// y[i] = op(a[i]) op(b[i]): a [B,M,K] (or [B,K,M] transposed), b [B,K,N] (or [B,N,K]), y [B,M,N]; a or b may have batch 1.
using MatmulFn = void(const Tensor& a, const Tensor& b, const MatmulParams&, Tensor& y);

// ---- convolution (cross-correlation) ------------------------------------------------------------------------------
enum class PadMode { zero, reflect, replicate };  // reflect does not repeat the border pixel
// y = act(conv(pad(x), w) + bias), act(v) = v > 0 ? v : slope * v; x [N,C,H,W], w [O,C/groups,KH,KW], bias [O] or undefined,
// y [N,O,OH,OW], OH = (H + 2*padding.h - dilation.h*(KH-1) - 1) / stride.h + 1. Reflected padding is smaller than the picture.
// bias is sum_dtype(x.dtype()); dw may be, whatever w was.
struct Conv2dParams {
  Size2 stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
  PadMode pad_mode = PadMode::zero;
  double activation_slope = 1;  // 1: none; 0: ReLU; between: LeakyReLU; >= 0, so that y tells the derivative
};
using Conv2dForwardFn = void(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams&, Tensor& y);
// The gradients' dy is that of the sums, before the activation. The input gradient gets zero padding only: of another mode it
// is that of the padded picture, which pad2d_backward folds (ops_conv2d.cpp).
using Conv2dInputGradFn = void(const Tensor& dy, const Tensor& w, const Conv2dParams&, Tensor& dx);
using Conv2dWeightGradFn = void(const Tensor& x, const Tensor& dy, const Conv2dParams&, Tensor& dw);

// ---- normalisation ------------------------------------------------------------------------------------------------
// y = act(gamma * (x - mean) * rstd + beta), rstd = 1 / sqrt(biased variance + eps); act(v) = v > 0 ? v : slope * v.
struct NormParams {
  double eps = 1e-5;
  double activation_slope = 1;  // 1: none; 0: ReLU; between: LeakyReLU
};
// The shape of mean and rstd says what shares a mean: [N,C], instance norm, the H*W elements of each (n,c); [C], batch norm,
// the N*H*W elements of each c. x, y [N,C,H,W] (any number of trailing dimensions); y may be x itself. gamma, beta [C] or
// undefined. All but x, y and their gradients are sum_dtype(x.dtype()).
using NormForwardFn = void(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams&, Tensor& y,
                           Tensor& mean, Tensor& rstd);
// dgamma, dbeta are written only where defined; the sign under the activation is recomputed from x.
using NormBackwardFn = void(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                            const Tensor& rstd, const Tensor& dy, const NormParams&, Tensor& dx, Tensor& dgamma,
                            Tensor& dbeta);
// y = act(gamma * (h - mean) * rstd + beta), mean and rstd over H*W of each (n,c) of h = conv(pad(x), w), which is never kept:
// for where no gradient is asked for. x, w, y as in conv2d_forward (no activation of its own), gamma, beta [O].
using Conv2dInstanceNormFn = void(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta,
                                  const Conv2dParams&, const NormParams&, Tensor& y);

// ---- pooling, resizing --------------------------------------------------------------------------------------------
struct Pool2dParams {
  Size2 kernel = 2, stride = 2, padding = 0;
  bool count_include_pad = true;  // average only: whether padding counts in the divisor
};
using AvgPool2dForwardFn = void(const Tensor& x, const Pool2dParams&, Tensor& y);
using AvgPool2dBackwardFn = void(const Tensor& dy, const Pool2dParams&, Tensor& dx);
// index i32 like y: position h*W + w of the maximum (the first one on ties) in its plane.
using MaxPool2dForwardFn = void(const Tensor& x, const Pool2dParams&, Tensor& y, Tensor& index);
using MaxPool2dBackwardFn = void(const Tensor& dy, const Tensor& index, const Pool2dParams&, Tensor& dx);

// Sizes come from x and y. nearest: source = floor(i * H / OH). bilinear: half-pixel centres, or corners aligned.
enum class ResizeMode { nearest, bilinear, bilinear_align_corners };
using Resize2dForwardFn = void(const Tensor& x, ResizeMode, Tensor& y);
using Resize2dBackwardFn = void(const Tensor& dy, ResizeMode, Tensor& dx);

// y [N,C,OH,OW] reads x [N,C,H,W] where grid [N,OH,OW,2] says: (u,v), u along the width; -1 and 1 are the outer edges of the
// picture or, with align_corners, the centres of its corner pixels (Jaderberg et al. 2015; PyTorch's grid_sample). A NaN is
// read as -1. Padding: zero, pixels outside are 0; replicate, positions outside move to the nearest pixel; reflect, they are
// mirrored at those edges or centres. grid and dgrid are sum_dtype(x.dtype()).
enum class SampleMode { bilinear, nearest };
struct GridSampleParams {
  SampleMode mode = SampleMode::bilinear;
  PadMode padding = PadMode::zero;
  bool align_corners = false;
};
using GridSampleForwardFn = void(const Tensor& x, const Tensor& grid, const GridSampleParams&, Tensor& y);
// dx and dgrid each where defined; dgrid is 0 where the position was moved to a pixel, and for nearest.
using GridSampleBackwardFn = void(const Tensor& x, const Tensor& grid, const Tensor& dy, const GridSampleParams&, Tensor& dx,
                                  Tensor& dgrid);

// ---- ASAPNet's per-tile MLP (docs/asapnet.md, high-res stream) ---------------------------------------------------
// Every tile x tile square of the picture runs its own MLP, whose weights are one column of phi [B,P,H/tile,W/tile]. A pixel's
// inputs: one-hot planes of its label (labels u8 or i32 [B,H,W] or undefined; outside 0..classes-1: all zeros), x's channels
// (x [B,C,H,W] or undefined; one of the two is defined), then 4*log2(tile) sinusoids (for f = tile, tile/2, .., 2: cos, sin of
// 2pi X/f, cos, sin of 2pi Y/f). Layers: `depth` linear ones, width `width` inside, `out` at the end. phi's channels: layer by
// layer, bias first, then W row-major (in, out). LeakyReLU slope after all but the last, tanh after the last.
struct TileMlpParams {
  int64_t tile = 16, width = 64, depth = 5, out = 3;
  double slope = 0.01;
  int64_t classes = 0;  // of labels
};
// y floating [B,out,H,W] in [-1,1], or u8 [B,H,W,out] = trunc(clip((v + 1) / 2 * 255)), 0 for a NaN.
using TileMlpForwardFn = void(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams&, Tensor& y);
// dx only where defined; recomputes the hidden layers from labels, x and phi.
using TileMlpBackwardFn = void(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                               const TileMlpParams&, Tensor& dx, Tensor& dphi);

// Label maps as a picture: one-hot planes, then the instance channel, downsampled by the tent filter of docs/asapnet.md (factor
// 1: as they are). labels u8 or i32 [N,H,W], a label outside 0..classes-1 gives all zeros; instance floating [N,1,H,W] or
// undefined; y floating [N,classes(+1),H/factor,W/factor].
struct LabelPlanesParams {
  int64_t classes = 13, factor = 1;
};
using LabelPlanesFn = void(const Tensor& labels, const Tensor& instance, const LabelPlanesParams&, Tensor& y);

// ---- optimisers: in place on param and state; all of one shape ------------------------------------------------------
struct AdamParams {  // Kingma & Ba 2015, algorithm 1
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
  // Whether weight_decay * param is added to the gradient, or, decoupled (Loshchilov & Hutter 2019), lr * weight_decay * param
  // taken from the parameter before the step.
  bool decoupled = false;
};
// What differs from step to step: a tensor f64 [5] beside the parameters, so that a recorded step can be done again.
struct AdamState {
  double lr = 0, step = 0;  // the learning rate; steps counted so far
  double rate = 0;          // of the step that was begun: lr / (1 - beta1^step)
  double scale = 0;         // 1 / sqrt(1 - beta2^step), for the root of v
  double goes = 0;          // 1, or 0: adam is to change nothing
};
// Counts a step and fills in rate, scale and goes. If one of `losses` (f32 or f64; may be undefined) is not finite, the
// step does not count and does not go.
using AdamBeginFn = void(const Tensor& losses, const AdamParams&, Tensor& state);
// Any number of parameters in one call, so that a device steps them all at once; grads[i], params[i], m[i], v[i] are alike.
// m[i] is undefined where beta1 = 0: it would be the gradient.
using AdamFn = void(std::span<const Tensor> grads, const AdamParams&, const Tensor& state, std::span<Tensor> params,
                    std::span<Tensor> m, std::span<Tensor> v);

// ---- collectives: what the ranks do together, processes that train one model, each with a share of every batch -------------
// All ranks call the same ones in the same order, with tensors of the same shape and dtype, contiguous. The definition is that of
// a single rank; the variants that reach others take worlds of more (train/ranks/mpi.cpp, cuda/nccl.cu).
struct World {
  int rank = 0, size = 1;  // this process is rank 0..size-1
};
// x becomes the sum of the ranks' x, the same bits on all. On the CPU it is added in the order of the ranks in f64 and rounded
// once. `wire`: x's dtype, or bf16, to which each rank's x and then the sum are rounded, so that half of f32's bytes travel.
using AllReduceFn = void(const World&, DType wire, Tensor& x);
using BroadcastFn = void(const World&, Tensor& x);                   // x becomes rank 0's x
using AllGatherFn = void(const World&, const Tensor& x, Tensor& y);  // y [size, ...x's shape]: all ranks' x, in their order

namespace kernels {
inline KernelSlot<FillFn> fill{"fill", Outputs::updated};
inline KernelSlot<CopyFn> copy{"copy", Outputs::updated};  // copies for it would be made with it
inline KernelSlot<RandomFn> random_uniform{"random_uniform"};
inline KernelSlot<RandomFn> random_normal{"random_normal"};
inline KernelSlot<UnaryFn> unary{"unary"};
inline KernelSlot<UnaryBackwardFn> unary_backward{"unary_backward"};
inline KernelSlot<BinaryFn> binary{"binary"};
inline KernelSlot<WhereFn> where{"where"};
inline KernelSlot<ReduceFn> reduce{"reduce"};
inline KernelSlot<ArgmaxFn> argmax{"argmax"};
inline KernelSlot<GatherFn> gather_forward{"gather_forward"};
inline KernelSlot<GatherBackwardFn> gather_backward{"gather_backward"};
inline KernelSlot<MatmulFn> matmul{"matmul"};
inline KernelSlot<Conv2dForwardFn> conv2d_forward{"conv2d_forward"};
inline KernelSlot<Conv2dInputGradFn> conv2d_input_grad{"conv2d_input_grad"};
inline KernelSlot<Conv2dWeightGradFn> conv2d_weight_grad{"conv2d_weight_grad"};
inline KernelSlot<NormForwardFn> norm_forward{"norm_forward"};
inline KernelSlot<NormBackwardFn> norm_backward{"norm_backward"};
inline KernelSlot<Conv2dInstanceNormFn> conv2d_instance_norm{"conv2d_instance_norm"};
inline KernelSlot<AvgPool2dForwardFn> avg_pool2d_forward{"avg_pool2d_forward"};
inline KernelSlot<AvgPool2dBackwardFn> avg_pool2d_backward{"avg_pool2d_backward"};
inline KernelSlot<MaxPool2dForwardFn> max_pool2d_forward{"max_pool2d_forward"};
inline KernelSlot<MaxPool2dBackwardFn> max_pool2d_backward{"max_pool2d_backward"};
inline KernelSlot<Resize2dForwardFn> resize2d_forward{"resize2d_forward"};
inline KernelSlot<Resize2dBackwardFn> resize2d_backward{"resize2d_backward"};
inline KernelSlot<GridSampleForwardFn> grid_sample_forward{"grid_sample_forward"};
inline KernelSlot<GridSampleBackwardFn> grid_sample_backward{"grid_sample_backward"};
inline KernelSlot<TileMlpForwardFn> tile_mlp_forward{"tile_mlp_forward"};
inline KernelSlot<TileMlpBackwardFn> tile_mlp_backward{"tile_mlp_backward"};
inline KernelSlot<LabelPlanesFn> label_planes{"label_planes"};
inline KernelSlot<AdamBeginFn> adam_begin{"adam_begin", Outputs::updated};
inline KernelSlot<AdamFn> adam{"adam", Outputs::updated};
inline KernelSlot<AllReduceFn> all_reduce{"all_reduce", Outputs::updated};
inline KernelSlot<BroadcastFn> broadcast{"broadcast", Outputs::updated};
inline KernelSlot<AllGatherFn> all_gather{"all_gather"};
}  // namespace kernels

}  // namespace asap
