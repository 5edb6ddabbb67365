// Checked padding of [N,C,H,W]. Declared in ops.h.
#include <algorithm>

#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {

Shape pad2d_shape(const Shape& x, const Pad2dParams& p) {
  checks::has_rank("pad2d", "x", x, 4);
  ASAP_CHECK(p.left >= 0 && p.right >= 0 && p.top >= 0 && p.bottom >= 0,
             "pad2d: expected no negative padding, got left ", p.left, ", right ", p.right, ", top ", p.top,
             ", bottom ", p.bottom);
  if (p.mode == PadMode::reflect) {
    ASAP_CHECK(std::max(p.left, p.right) < x[3] && std::max(p.top, p.bottom) < x[2],
               "pad2d: reflect padding must be smaller than the picture: left ", p.left, ", right ", p.right, ", top ",
               p.top, ", bottom ", p.bottom, " for shape ", x);
  } else if (p.mode == PadMode::replicate) {
    ASAP_CHECK(x[2] > 0 && x[3] > 0, "pad2d: replicate padding needs a pixel to repeat, got shape ", x);
  }
  return {x[0], x[1], add_sizes(x[2], add_sizes(p.top, p.bottom, "pad2d"), "pad2d"),
          add_sizes(x[3], add_sizes(p.left, p.right, "pad2d"), "pad2d")};
}

Tensor pad2d(const Tensor& x, const Pad2dParams& params) {
  checks::is_floating("pad2d", "x", x);
  Tensor y = Tensor::like(x, pad2d_shape(x.shape(), params));
  if (y.numel() > 0) kernels::pad2d_forward.run(x.device(), x, params, y);
  return y;
}

Tensor pad2d_backward(const Tensor& dy, const Shape& x_shape, const Pad2dParams& params) {
  checks::is_floating("pad2d_backward", "dy", dy);
  checks::has_shape("pad2d_backward", "dy", dy, pad2d_shape(x_shape, params));
  Tensor dx = Tensor::like(dy, x_shape);
  if (dx.numel() > 0) kernels::pad2d_backward.run(dy.device(), dy, params, dx);
  return dx;
}

}  // namespace asap
