// Checked padding of [N,C,H,W], one axis after the other, composed of copies. Declared in ops.h.
#include <algorithm>

#include "tensor/checks.h"
#include "tensor/definitions/padded_index.h"
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

namespace {

// Calls f(i, k) for the positions i of the border of an axis that read position k of 0..n-1, which begin behind `before`.
template <class F>
void for_each_border(int64_t n, int64_t before, int64_t after, PadMode mode, const F& f) {
  const auto visit = [&](int64_t i) {
    const int64_t k = padded_index(i - before, n, mode);
    if (k >= 0) f(i, k);
  };
  for (int64_t i = 0; i < before; ++i) visit(i);
  for (int64_t i = before + n; i < before + n + after; ++i) visit(i);
}

// x with its border along dimension `dim`.
Tensor extend(const Tensor& x, int dim, int64_t before, int64_t after, PadMode mode) {
  if (before + after == 0) return x;
  const int64_t n = x.size(dim);
  Shape shape = x.shape();
  shape[dim] += before + after;
  Tensor y = Tensor::like(x, shape);
  if (mode == PadMode::zero) y.fill(0);
  y.slice(dim, before, before + n).copy_from(x);
  for_each_border(n, before, after, mode, [&](int64_t i, int64_t k) { y.select(dim, i).copy_from(x.select(dim, k)); });
  return y;
}

// Its gradient: what lies inside, to which the border is added where it was read.
Tensor fold(const Tensor& dy, int dim, int64_t before, int64_t after, PadMode mode) {
  if (before + after == 0) return dy;
  Shape shape = dy.shape();
  const int64_t n = shape[dim] -= before + after;
  Tensor dx = Tensor::like(dy, shape);
  dx.copy_from(dy.slice(dim, before, before + n));
  for_each_border(n, before, after, mode, [&](int64_t i, int64_t k) {
    Tensor place = dx.select(dim, k);
    add_into(dy.select(dim, i), place);
  });
  return dx;
}

}  // namespace

Tensor pad2d(const Tensor& x, const Pad2dParams& p) {
  checks::is_floating("pad2d", "x", x);
  pad2d_shape(x.shape(), p);
  return extend(extend(x, 2, p.top, p.bottom, p.mode), 3, p.left, p.right, p.mode);
}

Tensor pad2d_backward(const Tensor& dy, const Shape& x_shape, const Pad2dParams& p) {
  checks::is_floating("pad2d_backward", "dy", dy);
  checks::has_shape("pad2d_backward", "dy", dy, pad2d_shape(x_shape, p));
  return fold(fold(dy, 3, p.left, p.right, p.mode), 2, p.top, p.bottom, p.mode);
}

}  // namespace asap
