// Checked matrix product, plain and batched. Declared in ops.h.
#include "tensor/operands.h"
#include "tensor/ops.h"

namespace asap {

Shape matmul_shape(const Shape& a, const Shape& b) {
  ASAP_CHECK((a.rank() == 2 || a.rank() == 3) && a.rank() == b.rank(),
             "matmul: expected two matrices or two batches of matrices, got ", a, " and ", b);
  ASAP_CHECK(a[-1] == b[-2], "matmul: a ", a, " has ", a[-1], " columns, but b ", b, " has ", b[-2], " rows");
  if (a.rank() == 2) return {a[0], b[1]};
  ASAP_CHECK(a[0] == b[0] || a[0] == 1 || b[0] == 1, "matmul: expected equal batches or one of 1, got ", a, " and ", b);
  return {a[0] == 1 ? b[0] : a[0], a[1], b[2]};
}

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, std::optional<DType> dtype) {
  checks::is_floating("matmul", "a", a);
  const Tensor operand = product_operand("matmul", a, b);
  const auto logical = [](Shape shape, bool transposed) {
    if (transposed && shape.rank() >= 2) std::swap(shape[-1], shape[-2]);
    return shape;
  };
  const Shape shape = matmul_shape(logical(a.shape(), transpose_a), logical(b.shape(), transpose_b));
  const auto batched = [](const Tensor& x) { return x.rank() == 3 ? x : x.unsqueeze(0); };
  Tensor y = Tensor::empty(shape.rank() == 3 ? shape : Shape{1, shape[0], shape[1]},
                           dtype.value_or(a.dtype()), a.device());
  const Tensor left = batched(a), right = batched(operand);
  if (left.numel() == 0 || right.numel() == 0) {
    y.fill(0);  // a sum over nothing
  } else {
    kernels::matmul.run(a.device(), left, right, {.transpose_a = transpose_a, .transpose_b = transpose_b}, y);
  }
  return y.reshape(shape);
}

}  // namespace asap
