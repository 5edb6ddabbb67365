// Checked reductions over any dimensions, and softmax along one. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// Which dimensions `dims` names; all of them if it names none.
std::vector<bool> reduced_dims(const Shape& x, const std::vector<int>& dims) {
  std::vector<bool> reduced(static_cast<size_t>(x.rank()), dims.empty());
  for (int dim : dims) {
    const size_t d = static_cast<size_t>(normalize_dim(dim, x.rank(), "reduce"));
    ASAP_CHECK(!reduced[d], "reduce: dimension ", dim, " appears twice");
    reduced[d] = true;
  }
  return reduced;
}

Shape reduced_shape(const Shape& x, const std::vector<bool>& reduced, bool keepdim) {
  Shape y;
  for (int d = 0; d < x.rank(); ++d) {
    if (!reduced[static_cast<size_t>(d)]) {
      y.push_back(x[d]);
    } else if (keepdim) {
      y.push_back(1);
    }
  }
  return y;
}

// Dimensions [first, last) as the middle of [outer, n, inner].
AxisParams axis_params(const Shape& x, int first, int last) {
  AxisParams p;
  for (int d = 0; d < x.rank(); ++d) (d < first ? p.outer : d < last ? p.n : p.inner) *= x[d];
  return p;
}

Tensor along_axis(const KernelSlot<SoftmaxFn>& slot, const char* op, const Tensor& x, int dim) {
  checks::is_floating(op, "x", x);
  const int d = normalize_dim(dim, x.rank(), op);
  Tensor y = Tensor::like(x);
  if (y.numel() > 0) slot.run(x.device(), x.contiguous(), axis_params(x.shape(), d, d + 1), y);
  return y;
}

Tensor along_axis_backward(const KernelSlot<SoftmaxBackwardFn>& slot, const char* op, const Tensor& y, const Tensor& dy,
                           int dim) {
  checks::is_floating(op, "y", y);
  checks::alike(op, y, dy);
  checks::has_shape(op, "dy", dy, y.shape());
  const int d = normalize_dim(dim, y.rank(), op);
  Tensor dx = Tensor::like(y);
  if (dx.numel() > 0) slot.run(y.device(), y.contiguous(), dy.contiguous(), axis_params(y.shape(), d, d + 1), dx);
  return dx;
}

}  // namespace

Shape reduce_shape(const Shape& x, const std::vector<int>& dims, bool keepdim) {
  return reduced_shape(x, reduced_dims(x, dims), keepdim);
}

// Adjacent reduced dimensions are reduced together, the innermost run first, so later runs have little left to read.
Tensor reduce(ReduceOp op, const Tensor& x, const std::vector<int>& dims, bool keepdim, std::optional<DType> dtype) {
  checks::is_floating("reduce", "x", x);
  const std::vector<bool> reduced = reduced_dims(x.shape(), dims);
  const Shape y_shape = reduced_shape(x.shape(), reduced, keepdim);
  ASAP_CHECK(x.numel() > 0 || op == ReduceOp::sum || y_shape.numel() == 0, op == ReduceOp::max ? "max: " : "mean: ",
             x.shape(), " has no elements to take a ", op == ReduceOp::max ? "maximum" : "mean", " of");
  Tensor y = x;
  for (int last = x.rank(); last > 0;) {
    if (!reduced[static_cast<size_t>(last - 1)]) {
      --last;
      continue;
    }
    int first = last - 1;
    while (first > 0 && reduced[static_cast<size_t>(first - 1)]) --first;
    Shape shape = y.shape();
    for (int d = first; d < last; ++d) shape[d] = 1;
    const AxisParams p = axis_params(y.shape(), first, last);
    const Tensor packed = y.contiguous();
    y = Tensor::empty(shape, dtype.value_or(x.dtype()), x.device());
    if (y.numel() > 0) kernels::reduce.run(x.device(), op, packed, p, y);
    last = first;
  }
  return (y.shares_storage(x) ? y.clone() : y)
      .reshape(y_shape)
      .to(dtype.value_or(x.dtype()));  // rank 0: nothing was reduced, the result is still new
}

Tensor sum(const Tensor& x, const std::vector<int>& dims, bool keepdim, std::optional<DType> dtype) {
  return reduce(ReduceOp::sum, x, dims, keepdim, dtype);
}
Tensor mean(const Tensor& x, const std::vector<int>& dims, bool keepdim) {
  return reduce(ReduceOp::mean, x, dims, keepdim);
}
Tensor max(const Tensor& x, const std::vector<int>& dims, bool keepdim) {
  return reduce(ReduceOp::max, x, dims, keepdim);
}

Tensor softmax(const Tensor& x, int dim) { return along_axis(kernels::softmax_forward, "softmax", x, dim); }
Tensor log_softmax(const Tensor& x, int dim) { return along_axis(kernels::log_softmax_forward, "log_softmax", x, dim); }
Tensor softmax_backward(const Tensor& y, const Tensor& dy, int dim) {
  return along_axis_backward(kernels::softmax_backward, "softmax_backward", y, dy, dim);
}
Tensor log_softmax_backward(const Tensor& y, const Tensor& dy, int dim) {
  return along_axis_backward(kernels::log_softmax_backward, "log_softmax_backward", y, dy, dim);
}

}  // namespace asap
