// Checked reductions over any dimensions; argmax and gather along one. Declared in ops.h.
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

// Kernels along an axis want row-major tensors: a channels-last picture without gaps is seen as [N,H,W,C], which is one.
struct RowMajor {
  bool turned;
  explicit RowMajor(const Tensor& x)
      : turned(x.layout() == Layout::channels_last && x.permute({0, 2, 3, 1}).is_contiguous()) {}
  Tensor view(const Tensor& x) const { return turned ? x.permute({0, 2, 3, 1}) : x; }
  Tensor back(const Tensor& x) const { return turned ? x.permute({0, 3, 1, 2}) : x; }
  int dim(int d) const {
    constexpr int kMoved[] = {0, 3, 1, 2};
    return turned ? kMoved[d] : d;
  }
  // Dimension d as the middle.
  AxisParams axis(const Tensor& x, int d) const { return axis_params(view(x).shape(), dim(d), dim(d) + 1); }
};

// index has x's shape except along `dim`, and is i32 within x. Only the cpu's indices are read here: a look at another
// device's would wait for it.
void check_gather(const char* op, const Shape& x, const Tensor& index, int dim) {
  ASAP_CHECK(index.defined() && index.dtype() == DType::i32, op, ": expected an i32 index, got ",
             index.defined() ? name(index.dtype()) : "an undefined one");
  bool fits = index.rank() == x.rank();
  for (int d = 0; fits && d < x.rank(); ++d) fits = d == dim || index.size(d) == x[d];
  ASAP_CHECK(fits, op, ": expected an index of shape ", x, " except along dimension ", dim, ", got ", index.shape());
  if (index.device() != Device::cpu) return;
  const Tensor packed = index.contiguous();
  const int32_t* values = packed.data<int32_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    ASAP_CHECK(values[i] >= 0 && values[i] < x[dim], op, ": index ", values[i], " is outside 0..", x[dim] - 1,
               " of dimension ", dim);
  }
}

}  // namespace

Shape reduce_shape(const Shape& x, const std::vector<int>& dims, bool keepdim) {
  return reduced_shape(x, reduced_dims(x, dims), keepdim);
}

// Adjacent reduced dimensions are reduced together, the innermost run first, so later runs have little left to read.
Tensor reduce(ReduceOp op, const Tensor& x, const std::vector<int>& dims, bool keepdim, std::optional<DType> dtype) {
  checks::is_floating("reduce", "x", x);
  const std::vector<bool> reduced = reduced_dims(x.shape(), dims);
  ASAP_CHECK(x.numel() > 0 || op == ReduceOp::sum || reduced_shape(x.shape(), reduced, keepdim).numel() == 0,
             op == ReduceOp::max ? "max: " : "mean: ", x.shape(), " has no elements to take a ",
             op == ReduceOp::max ? "maximum" : "mean", " of");
  const RowMajor as(x);
  std::vector<bool> waiting = reduced;
  for (int d = 0; d < x.rank(); ++d) waiting[static_cast<size_t>(as.dim(d))] = reduced[static_cast<size_t>(d)];
  Tensor y = as.view(x);
  for (int last = x.rank(); last > 0;) {
    if (!waiting[static_cast<size_t>(last - 1)]) {
      --last;
      continue;
    }
    int first = last - 1;
    while (first > 0 && waiting[static_cast<size_t>(first - 1)]) --first;
    Shape shape = y.shape();
    for (int d = first; d < last; ++d) shape[d] = 1;
    const AxisParams p = axis_params(y.shape(), first, last);
    const Tensor from = y;
    y = Tensor::empty(shape, sum_dtype(x.dtype()), x.device());
    if (y.numel() > 0) kernels::reduce.run(x.device(), op, from, p, y);
    last = first;
  }
  if (y.shares_storage(x)) y = y.clone();  // rank 0: nothing was reduced, the result is still new
  y = as.back(y).to(dtype.value_or(x.dtype()));
  for (int d = x.rank() - 1; d >= 0 && !keepdim; --d) {
    if (reduced[static_cast<size_t>(d)]) y = y.squeeze(d);
  }
  return y;
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

Tensor argmax(const Tensor& x, int dim, bool keepdim) {
  ASAP_CHECK(x.defined(), "argmax: expected a tensor for x, got an undefined one");
  const int d = normalize_dim(dim, x.rank(), "argmax");
  const RowMajor as(x);
  Shape shape = as.view(x).shape();
  shape[as.dim(d)] = 1;
  ASAP_CHECK((x.size(d) > 0 || shape.numel() == 0) && x.size(d) <= INT32_MAX,
             "argmax: expected 1..2^31-1 elements along dimension ", dim, ", got ", x.shape());
  Tensor y = Tensor::empty(shape, DType::i32, x.device());
  if (y.numel() > 0) kernels::argmax.run(x.device(), as.view(x), as.axis(x, d), y);
  y = as.back(y);
  return keepdim ? y : y.squeeze(d);
}

Tensor gather(const Tensor& x, int dim, const Tensor& index) {
  ASAP_CHECK(x.defined(), "gather: expected a tensor for x, got an undefined one");
  const int d = normalize_dim(dim, x.rank(), "gather");
  check_gather("gather", x.shape(), index, d);
  checks::one_device("gather", x, index);
  const RowMajor as(x);
  const Tensor y = Tensor::like(x, index.shape());
  Tensor to = as.view(y);
  if (y.numel() > 0) kernels::gather_forward.run(x.device(), as.view(x), as.view(index), as.axis(x, d), to);
  return y;
}

Tensor gather_backward(const Tensor& dy, int dim, const Tensor& index, const Shape& x_shape) {
  checks::is_floating("gather_backward", "dy", dy);
  const int d = normalize_dim(dim, x_shape.rank(), "gather_backward");
  check_gather("gather_backward", x_shape, index, d);
  checks::one_device("gather_backward", dy, index);
  checks::has_shape("gather_backward", "dy", dy, index.shape());
  const RowMajor as(dy);
  const Tensor dx = Tensor::like(dy, x_shape);
  Tensor to = as.view(dx);
  if (dx.numel() > 0) kernels::gather_backward.run(dy.device(), as.view(dy), as.view(index), as.axis(dx, d), to);
  return dx;
}

}  // namespace asap
