// Checked padding, pooling and resizing of [N,C,H,W]. Declared in ops.h.
#include <algorithm>

#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {

// ---- padding ------------------------------------------------------------------------------------------------------

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

// ---- pooling ------------------------------------------------------------------------------------------------------

Shape pool2d_shape(const Shape& x, const Pool2dParams& p) {
  checks::has_rank("pool2d", "x", x, 4);
  ASAP_CHECK(p.kernel.h > 0 && p.kernel.w > 0 && p.stride.h > 0 && p.stride.w > 0,
             "pool2d: expected positive kernel and stride");
  ASAP_CHECK(p.padding.h >= 0 && p.padding.w >= 0 && p.padding.h <= p.kernel.h / 2 && p.padding.w <= p.kernel.w / 2,
             "pool2d: expected padding of at most half the kernel (", p.kernel.h, ",", p.kernel.w, "), got (",
             p.padding.h, ",", p.padding.w, ")");
  ASAP_CHECK(x[2] > 0 && x[3] > 0, "pool2d: expected pictures with pixels, got shape ", x);
  const int64_t height = add_sizes(x[2], 2 * p.padding.h, "pool2d"), width = add_sizes(x[3], 2 * p.padding.w, "pool2d");
  ASAP_CHECK(height >= p.kernel.h && width >= p.kernel.w, "pool2d: the kernel (", p.kernel.h, ",", p.kernel.w,
             ") is larger than the padded picture of shape ", x);
  return {x[0], x[1], (height - p.kernel.h) / p.stride.h + 1, (width - p.kernel.w) / p.stride.w + 1};
}

namespace {

// The parameters with a stride that no second window has use for as small as it can be: kernels count and allocate with it.
Pool2dParams bounded(const Shape& x, Pool2dParams p) {
  const auto bound = [](int64_t padded, int64_t kernel, int64_t& stride) {
    if (stride > padded) stride = padded - kernel + 1;
  };
  bound(x[2] + 2 * p.padding.h, p.kernel.h, p.stride.h);
  bound(x[3] + 2 * p.padding.w, p.kernel.w, p.stride.w);
  return p;
}

// max_pool2d's indices are i32.
Shape max_pool2d_shape(const Shape& x, const Pool2dParams& params) {
  const Shape y = pool2d_shape(x, params);
  ASAP_CHECK(multiply_sizes(x[2], x[3], "max_pool2d") <= INT32_MAX,
             "max_pool2d: expected planes of less than 2^31 pixels, got shape ", x);
  return y;
}

// Only the cpu's indices are read here, as gather does: a look at another device's would wait for it. Nor is there a need: a
// card's kernel compares an index with the pixels of its window, so that one from elsewhere finds none.
void check_pool_index(const Tensor& index, int64_t plane) {
  if (index.device() != Device::cpu || index.numel() == 0) return;
  const Tensor packed = index.contiguous();
  const int32_t* values = packed.data<int32_t>();
  const auto [least, most] = std::minmax_element(values, values + index.numel());
  const int32_t worst = *least < 0 ? *least : *most;
  ASAP_CHECK(worst >= 0 && worst < plane, "max_pool2d_backward: index ", worst, " is outside 0..", plane - 1);
}

}  // namespace

Tensor avg_pool2d(const Tensor& x, const Pool2dParams& params) {
  checks::is_floating("avg_pool2d", "x", x);
  Tensor y = Tensor::like(x, pool2d_shape(x.shape(), params));
  if (y.numel() > 0) kernels::avg_pool2d_forward.run(x.device(), x, bounded(x.shape(), params), y);
  return y;
}

Tensor avg_pool2d_backward(const Tensor& dy, const Shape& x_shape, const Pool2dParams& params) {
  checks::is_floating("avg_pool2d_backward", "dy", dy);
  checks::has_shape("avg_pool2d_backward", "dy", dy, pool2d_shape(x_shape, params));
  Tensor dx = Tensor::like(dy, x_shape);
  if (dx.numel() > 0) kernels::avg_pool2d_backward.run(dy.device(), dy, bounded(x_shape, params), dx);
  return dx;
}

MaxPoolResult max_pool2d(const Tensor& x, const Pool2dParams& params) {
  checks::is_floating("max_pool2d", "x", x);
  const Shape shape = max_pool2d_shape(x.shape(), params);
  MaxPoolResult result{Tensor::like(x, shape), Tensor::empty(shape, DType::i32, x.device(), x.layout())};
  if (shape.numel() > 0) kernels::max_pool2d_forward.run(x.device(), x, bounded(x.shape(), params), result.y, result.index);
  return result;
}

Tensor max_pool2d_backward(const Tensor& dy, const Tensor& index, const Shape& x_shape, const Pool2dParams& params) {
  checks::is_floating("max_pool2d_backward", "dy", dy);
  ASAP_CHECK(index.defined() && index.dtype() == DType::i32,
             "max_pool2d_backward: expected the i32 index of max_pool2d");
  checks::one_device("max_pool2d_backward", dy, index);
  checks::has_shape("max_pool2d_backward", "dy", dy, max_pool2d_shape(x_shape, params));
  checks::has_shape("max_pool2d_backward", "index", index, dy.shape());
  Tensor dx = Tensor::like(dy, x_shape);
  check_pool_index(index, x_shape[2] * x_shape[3]);
  if (dx.numel() > 0) kernels::max_pool2d_backward.run(dy.device(), dy, index, bounded(x_shape, params), dx);
  return dx;
}

// ---- resizing -----------------------------------------------------------------------------------------------------

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
