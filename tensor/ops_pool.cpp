// Checked pooling of [N,C,H,W]. Declared in ops.h.
#include <algorithm>

#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {

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

}  // namespace asap
