// Reductions and softmax beside their gradients. `dims` empty means all dimensions. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {
namespace {

// The cotangent of a reduction spread over the reduced dimensions of x: a view with stride 0 there.
Tensor spread(const Tensor& dy, const Shape& x_shape, const std::vector<int>& dims) {
  return dy.contiguous().reshape(reduce_shape(x_shape, dims, true)).expand(x_shape);
}

}  // namespace

Variable sum(const Variable& x, const std::vector<int>& dims, bool keepdim) {
  return make_result("sum", sum(x.value(), dims, keepdim), x,
                     [dims, x_shape = x.shape()](const Tensor& dy) { return spread(dy, x_shape, dims); });
}

Variable mean(const Variable& x, const std::vector<int>& dims, bool keepdim) {
  Tensor y = mean(x.value(), dims, keepdim);
  const double share = static_cast<double>(y.numel()) / static_cast<double>(x.numel());
  return make_result("mean", y, x, [dims, share, x_shape = x.shape()](const Tensor& dy) {
    return spread(affine(dy, share, 0), x_shape, dims);
  });
}

// Elements equal to the maximum share its gradient evenly.
Variable max(const Variable& x, const std::vector<int>& dims, bool keepdim) {
  Tensor y = max(x.value(), dims, keepdim);
  return make_result("max", y, x, [dims, saved_x = Saved(x.value()), saved_y = Saved(y)](const Tensor& dy) {
    const Tensor& value = saved_x.get("max");
    const Tensor is_max = binary(BinaryOp::equal, value, spread(saved_y.get("max"), value.shape(), dims));
    const Tensor ties = sum(is_max, dims, true);
    return mul(is_max, div(dy.contiguous().reshape(ties.shape()), ties));
  });
}

Variable softmax(const Variable& x, int dim) {
  Tensor y = softmax(x.value(), dim);
  return make_result("softmax", y, {x},
                     [dim, saved = Saved(y)](const Tensor& dy, std::span<const bool>) -> std::vector<Tensor> {
                       return {softmax_backward(saved.get("softmax"), dy, dim)};
                     });
}

Variable log_softmax(const Variable& x, int dim) {
  Tensor y = log_softmax(x.value(), dim);
  return make_result("log_softmax", y, {x},
                     [dim, saved = Saved(y)](const Tensor& dy, std::span<const bool>) -> std::vector<Tensor> {
                       return {log_softmax_backward(saved.get("log_softmax"), dy, dim)};
                     });
}

}  // namespace asap
