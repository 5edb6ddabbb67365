// Reductions beside their gradients, and softmax made of them. `dims` empty means all dimensions. Declared in ops.h.
#include "autograd/ops.h"
#include "tensor/checks.h"

namespace asap {
namespace {

// The cotangent of a reduction spread over the reduced dimensions of x: a view with stride 0 there.
Tensor spread(const Tensor& dy, const Shape& x_shape, const std::vector<int>& dims) {
  return dy.contiguous().reshape(reduce_shape(x_shape, dims, true)).expand(x_shape);
}

// x less its largest value along dim, so that no exponential overflows; bf16 as f32. The result of a softmax does not depend on
// what is subtracted: as a constant it gives the same gradient.
Variable below_zero(const char* op, const Variable& x, int dim) {
  checks::is_floating(op, "x", x.value());
  const std::vector<int> dims{normalize_dim(dim, x.rank(), op)};
  const Variable z = convert(x, sum_dtype(x.dtype()));
  return x.numel() == 0 ? z : z - Variable(max(z.value(), dims, true));
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
  const Variable e = exp(below_zero("softmax", x, dim));
  return convert(e / sum(e, {dim}, true), x.dtype());
}

Variable log_softmax(const Variable& x, int dim) {
  const Variable z = below_zero("log_softmax", x, dim);
  return convert(z - log(sum(exp(z), {dim}, true)), x.dtype());
}

}  // namespace asap
