// Checked sampling of [N,C,H,W] at the positions of a grid. Declared in ops.h.
#include "tensor/operands.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// The shape of y.
Shape check_grid_sample(const char* op, const Tensor& x, const Tensor& grid) {
  checks::is_floating(op, "x", x);
  checks::has_sum_dtype(op, "grid", x, grid);
  checks::has_rank(op, "x", x.shape(), 4);
  checks::has_rank(op, "grid", grid.shape(), 4);
  ASAP_CHECK(grid.size(0) == x.size(0) && grid.size(3) == 2, op, ": expected a grid [", x.size(0), ",OH,OW,2], got ",
             grid.shape());
  ASAP_CHECK(x.size(2) > 0 && x.size(3) > 0, op, ": expected pictures with pixels, got shape ", x.shape());
  return {x.size(0), x.size(1), grid.size(1), grid.size(2)};
}

}  // namespace

Tensor grid_sample(const Tensor& x, const Tensor& grid, const GridSampleParams& params) {
  Tensor y = Tensor::like(x, check_grid_sample("grid_sample", x, grid));
  if (y.numel() > 0) kernels::grid_sample_forward.run(x.device(), x, grid, params, y);
  return y;
}

GridSampleGrads grid_sample_backward(const Tensor& x, const Tensor& grid, const Tensor& dy, const GridSampleParams& params,
                                     bool want_dx, bool want_dgrid) {
  constexpr const char* kOp = "grid_sample_backward";
  checks::alike(kOp, x, dy);
  checks::has_shape(kOp, "dy", dy, check_grid_sample(kOp, x, grid));
  GridSampleGrads grads;
  if (want_dx) grads.dx = Tensor::like(x);
  if (want_dgrid) grads.dgrid = Tensor::empty(grid.shape(), grid.dtype(), grid.device());
  if (dy.numel() > 0) {
    kernels::grid_sample_backward.run(dy.device(), x, grid, cotangent_operand(x, dy), params, grads.dx, grads.dgrid);
    return grads;
  }
  for (Tensor* gradient : {&grads.dx, &grads.dgrid}) {
    if (gradient->defined()) gradient->fill(0);
  }
  return grads;
}

}  // namespace asap
