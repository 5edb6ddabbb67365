// Checked ops that rearrange: cat, gather with its gradient. Declared in ops.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {
namespace {

AxisParams axis_params(const Shape& x, int dim) {
  AxisParams p;
  for (int d = 0; d < x.rank(); ++d) (d < dim ? p.outer : d == dim ? p.n : p.inner) *= x[d];
  return p;
}

// index has x's shape except along `dim`, and is i32 within x. Only the cpu's indices are read here: a look at another
// device's would wait for it.
void check_gather(const char* op, const Shape& x, const Tensor& index, int dim) {
  ASAP_CHECK(index.defined() && index.dtype() == DType::i32, op, ": expected an i32 index, got ",
             index.defined() ? name(index.dtype()) : "an undefined one");
  bool fits = index.rank() == x.rank();
  for (int d = 0; fits && d < x.rank(); ++d) fits = d == dim || index.size(d) == x[d];
  ASAP_CHECK(fits, op, ": expected an index of shape ", x, " except along dimension ", dim, ", got ", index.shape());
  if (index.device() != Device::cpu) return;
  const int32_t* values = index.data<int32_t>();
  for (int64_t i = 0; i < index.numel(); ++i) {
    ASAP_CHECK(values[i] >= 0 && values[i] < x[dim], op, ": index ", values[i], " is outside 0..", x[dim] - 1,
               " of dimension ", dim);
  }
}

}  // namespace

Shape cat_shape(const std::vector<Shape>& xs, int dim) {
  ASAP_CHECK(!xs.empty(), "cat: expected at least one tensor, got none");
  const int along = normalize_dim(dim, xs[0].rank(), "cat");
  Shape y = xs[0];
  for (size_t i = 1; i < xs.size(); ++i) {
    bool fits = xs[i].rank() == y.rank();
    for (int d = 0; fits && d < y.rank(); ++d) fits = d == along || xs[i][d] == y[d];
    ASAP_CHECK(fits, "cat: expected shapes that agree except along dimension ", dim, ", got ", xs[0], " and ", xs[i]);
    y[along] = add_sizes(y[along], xs[i][along], "cat");
  }
  return y;
}

Tensor cat(const std::vector<Tensor>& xs, int dim) {
  std::vector<Shape> shapes;
  for (const Tensor& x : xs) {
    checks::alike("cat", xs[0], x);
    shapes.push_back(x.shape());
  }
  Tensor y = Tensor::like(xs.empty() ? Tensor() : xs[0], cat_shape(shapes, dim));
  int64_t start = 0;
  for (const Tensor& x : xs) {
    Tensor part = y.slice(dim, start, start + x.size(dim));
    if (x.numel() > 0) kernels::copy.run(x.device(), x, part);
    start += x.size(dim);
  }
  return y;
}

Tensor gather(const Tensor& x, int dim, const Tensor& index) {
  ASAP_CHECK(x.defined(), "gather: expected a tensor for x, got an undefined one");
  const int d = normalize_dim(dim, x.rank(), "gather");
  const Tensor packed = index.defined() ? index.contiguous() : index;
  check_gather("gather", x.shape(), packed, d);
  checks::one_device("gather", x, packed);
  Tensor y = Tensor::like(x, index.shape());
  if (y.numel() > 0) kernels::gather_forward.run(x.device(), x.contiguous(), packed, axis_params(x.shape(), d), y);
  return y;
}

Tensor gather_backward(const Tensor& dy, int dim, const Tensor& index, const Shape& x_shape) {
  checks::is_floating("gather_backward", "dy", dy);
  const int d = normalize_dim(dim, x_shape.rank(), "gather_backward");
  const Tensor packed = index.defined() ? index.contiguous() : index;
  check_gather("gather_backward", x_shape, packed, d);
  checks::one_device("gather_backward", dy, packed);
  checks::has_shape("gather_backward", "dy", dy, index.shape());
  Tensor dx = Tensor::like(dy, x_shape);
  if (dx.numel() > 0) kernels::gather_backward.run(dy.device(), dy.contiguous(), packed, axis_params(x_shape, d), dx);
  return dx;
}

}  // namespace asap
