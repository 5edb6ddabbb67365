// Checked resizing of [N,C,H,W]. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {
void check_resize(const char* op, const Shape& x, Size2 size) {
  checks::has_rank(op, "x", x, 4);
  ASAP_CHECK(size.h > 0 && size.w > 0 && x[2] > 0 && x[3] > 0, op, ": expected positive sizes, got x ", x,
             " and size (", size.h, ",", size.w, ")");
}
}  // namespace

Tensor resize2d(const Tensor& x, Size2 size, ResizeMode mode) {
  checks::is_floating("resize2d", "x", x);
  check_resize("resize2d", x.shape(), size);
  Tensor y = Tensor::like(x, {x.size(0), x.size(1), size.h, size.w});
  if (y.numel() > 0) kernels::resize2d_forward.run(x.device(), x, mode, y);
  return y;
}

Tensor resize2d_backward(const Tensor& dy, const Shape& x_shape, ResizeMode mode) {
  checks::is_floating("resize2d_backward", "dy", dy);
  checks::has_rank("resize2d_backward", "dy", dy.shape(), 4);
  check_resize("resize2d_backward", x_shape, {dy.size(2), dy.size(3)});
  ASAP_CHECK(dy.size(0) == x_shape[0] && dy.size(1) == x_shape[1], "resize2d_backward: dy ", dy.shape(), " and x ",
             x_shape, " differ in their planes");
  Tensor dx = Tensor::like(dy, x_shape);
  if (dx.numel() > 0) kernels::resize2d_backward.run(dy.device(), dy, mode, dx);
  return dx;
}

}  // namespace asap
