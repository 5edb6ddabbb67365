// Checked matrix product of any batches, which the kernel gets as one. Declared in ops.h.
#include "tensor/operands.h"
#include "tensor/ops.h"

namespace asap {
namespace {

// The dimensions in front of the matrix.
Shape batch_of(const Shape& x) { return {x.begin(), x.end() - 2}; }

// x as [B,rows,columns]: of all matrices of `batch`, or of x's one.
Tensor as_batch(const Tensor& x, Shape batch) {
  const int64_t rows = x.size(-2), columns = x.size(-1), own = batch_of(x.shape()).numel();
  if (x.rank() == 3 && (own == 1 || batch.rank() == 1)) return x;
  if (x.rank() == 2) return x.unsqueeze(0);
  if (own == 1) return x.contiguous().reshape({1, rows, columns});
  const int64_t count = batch.numel();
  batch.push_back(rows);
  batch.push_back(columns);
  return x.expand(batch).contiguous().reshape({count, rows, columns});
}

}  // namespace

Shape matmul_shape(const Shape& a, const Shape& b) {
  ASAP_CHECK(a.rank() >= 2 && b.rank() >= 2, "matmul: expected matrices or batches of them, got ", a, " and ", b);
  ASAP_CHECK(a[-1] == b[-2], "matmul: a ", a, " has ", a[-1], " columns, but b ", b, " has ", b[-2], " rows");
  Shape y = broadcast_shapes(batch_of(a), batch_of(b), "matmul");
  y.push_back(a[-2]);
  y.push_back(b[-1]);
  return y;
}

Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a, bool transpose_b, std::optional<DType> dtype) {
  checks::is_floating("matmul", "a", a);
  const Tensor operand = product_operand("matmul", a, b);
  const auto logical = [](Shape shape, bool transposed) {
    if (transposed && shape.rank() >= 2) std::swap(shape[-1], shape[-2]);
    return shape;
  };
  const Shape shape = matmul_shape(logical(a.shape(), transpose_a), logical(b.shape(), transpose_b));
  Tensor y = Tensor::empty({batch_of(shape).numel(), shape[-2], shape[-1]}, dtype.value_or(a.dtype()), a.device());
  const Tensor left = as_batch(a, batch_of(shape)), right = as_batch(operand, batch_of(shape));
  if (left.numel() == 0 || right.numel() == 0) {
    y.fill(0);  // a sum over nothing
  } else {
    kernels::matmul.run(a.device(), left, right, {.transpose_a = transpose_a, .transpose_b = transpose_b}, y);
  }
  return y.reshape(shape);
}

}  // namespace asap
