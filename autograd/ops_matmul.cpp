// Matrix products beside their gradients. Declared in ops.h; the kernel is kernels::matmul.
#include "autograd/ops.h"
#include "autograd/parameters.h"

namespace asap {

// y = A B with A = op(a), B = op(b): dA = dy B^T and dB = A^T dy, transposed once more where op is a transposition.
// Batches that were broadcast get the sum over them. b's may be f32 where all else is bf16.
Variable matmul(const Variable& a, const Variable& b, bool transpose_a, bool transpose_b) {
  const Tensor operand = b.operand_beside(a);
  return make_result("matmul", matmul(a.value(), operand, transpose_a, transpose_b), {a, b},
                     [saved_a = Saved(b.requires_grad() ? a.value() : Tensor()),
                      saved_b = Saved(a.requires_grad() ? operand : Tensor()), a_shape = a.shape(),
                      b_shape = b.shape(), b_dtype = b.dtype(), transpose_a,
                      transpose_b](const Tensor& dy, std::span<const bool> needs) {
                       std::vector<Tensor> grads(2);
                       if (needs[0]) {
                         const Tensor& other = saved_b.get("matmul");
                         grads[0] = sum_to(transpose_a ? matmul(other, dy, transpose_b, true)
                                                       : matmul(dy, other, false, !transpose_b), a_shape);
                       }
                       if (needs[1]) {
                         const Tensor& other = saved_a.get("matmul");
                         grads[1] = sum_to(transpose_b ? matmul(dy, other, true, transpose_a, b_dtype)
                                                       : matmul(other, dy, !transpose_a, false, b_dtype), b_shape);
                       }
                       return grads;
                     });
}

// All rows in one product.
Variable linear(const Variable& x, const Variable& w, const Variable& bias) {
  ASAP_CHECK(x.rank() > 0, "linear: expected x [...,in], got shape ", x.shape());
  Shape shape = x.shape();
  const int64_t rows = Shape(shape.begin(), shape.end() - 1).numel();
  const Variable y = matmul(x.rank() == 2 ? x : reshape(x, {rows, x.size(-1)}), w, false, true);
  const Variable z = bias.defined() ? add_parameter("linear", y, bias) : y;
  shape[-1] = w.size(0);
  return x.rank() == 2 ? z : reshape(z, shape);
}

}  // namespace asap
