// Checked elementwise ops: unary, binary and where with broadcasting, in-place addition, and the gradient of broadcasting; the names of
// the operations. Declared in ops.h and kernels.h.
#include "tensor/checks.h"
#include "tensor/ops.h"

namespace asap {

#define ASAP_NAME(name, ...) \
  case Op::name: return #name;
const char* name(UnaryOp op) {
  using Op = UnaryOp;
  switch (op) { ASAP_UNARY_OPS(ASAP_NAME) }
  return "unknown unary operation";
}
const char* name(BinaryOp op) {
  using Op = BinaryOp;
  switch (op) { ASAP_BINARY_OPS(ASAP_NAME) }
  return "unknown binary operation";
}
#undef ASAP_NAME

bool saves_output(UnaryOp op) {
#define ASAP_SAVES_OUTPUT(name, f, known, ...) \
  case UnaryOp::name: return #known[0] == 'y';
  switch (op) { ASAP_UNARY_OPS(ASAP_SAVES_OUTPUT) }
#undef ASAP_SAVES_OUTPUT
  return false;
}

Tensor unary(UnaryOp op, const Tensor& x, const UnaryParams& params) {
  checks::is_floating(name(op), "x", x);
  Tensor y = Tensor::like(x);
  kernels::unary.run(x.device(), op, x, params, y);
  return y;
}

Tensor unary_backward(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params) {
  const std::string text = str(name(op), " backward");
  checks::is_floating(text.c_str(), "dy", dy);
  checks::alike(text.c_str(), saved, dy);
  checks::has_shape(text.c_str(), "dy", dy, saved.shape());
  Tensor dx = Tensor::like(saved);
  kernels::unary_backward.run(dy.device(), op, saved, dy, params, dx);
  return dx;
}

Tensor binary(BinaryOp op, const Tensor& a, const Tensor& b) {
  checks::is_floating(name(op), "a", a);
  checks::alike(name(op), a, b);
  const Shape shape = broadcast_shapes(a.shape(), b.shape(), name(op));
  Tensor y = Tensor::like(a.shape() != shape && b.shape() == shape ? b : a, shape);  // as the one that is not expanded
  kernels::binary.run(a.device(), op, a.expand(shape), b.expand(shape), y);
  return y;
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  ASAP_CHECK(condition.defined(), "where: expected a tensor for condition, got an undefined one");
  checks::alike("where", a, b);
  checks::one_device("where", condition, a);
  const Shape shape = broadcast_shapes(condition.shape(), broadcast_shapes(a.shape(), b.shape(), "where"), "where");
  Tensor y = Tensor::like(a.shape() != shape && b.shape() == shape ? b : a, shape);  // as the one that is not expanded
  kernels::where.run(a.device(), condition.expand(shape), a.expand(shape), b.expand(shape), y);
  return y;
}

Tensor affine(const Tensor& x, double scale, double shift) { return unary(UnaryOp::affine, x, {scale, shift}); }

void add_into(const Tensor& x, Tensor& y) {
  checks::is_floating("add_into", "y", y);
  checks::alike("add_into", x, y);
  checks::has_shape("add_into", "x", x, y.shape());
  y.check_writable("add_into");
  const bool same_elements = x.raw() == y.raw() && x.strides() == y.strides();
  kernels::binary.run(y.device(), BinaryOp::add, y, x.overlaps(y) && !same_elements ? x.clone() : x, y);
  y.bump_version();
}

Tensor sum_to(const Tensor& x, const Shape& shape, std::optional<DType> dtype) {
  ASAP_CHECK(shape.rank() <= x.rank() && broadcast_shapes(x.shape(), shape, "sum_to") == x.shape(), "sum_to: ", shape,
             " does not broadcast to ", x.shape());
  const int extra = x.rank() - shape.rank();
  std::vector<int> dims;
  for (int d = 0; d < x.rank(); ++d) {
    if (d < extra || (shape[d - extra] == 1 && x.size(d) != 1)) dims.push_back(d);
  }
  Tensor y = dims.empty() ? x.to(dtype.value_or(x.dtype())) : sum(x, dims, true, dtype);
  while (y.rank() > shape.rank()) y = y.squeeze(0);
  return y;
}

}  // namespace asap
