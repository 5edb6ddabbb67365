// Matrix products beside their gradients. Declared in ops.h; the kernel is kernels::matmul.
#include "autograd/ops.h"
#include "tensor/operands.h"

namespace asap {

// y = A B with A = op(a), B = op(b): dA = dy B^T and dB = A^T dy, transposed once more where op is a transposition.
// A batch of 1 was broadcast: its gradient is the sum over the batch. b's may be f32 where all else is bf16.
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

// The f32 bias of a bf16 y is rounded; its gradient is not.
Variable linear(const Variable& x, const Variable& w, const Variable& bias) {
  const Variable y = matmul(x, w, false, true);
  if (!bias.defined()) return y;
  checks::has_sum_dtype("linear", "bias", y.value(), bias.value());
  return make_result("linear", add(y.value(), bias.value().to(y.dtype())), {y, bias},
                     [y_shape = y.shape(), b_shape = bias.shape(), b_dtype = bias.dtype()](
                         const Tensor& dy, std::span<const bool> needs) -> std::vector<Tensor> {
                       return {sum_to(dy, y_shape), needs[1] ? sum_to(dy, b_shape, b_dtype) : Tensor()};
                     });
}

}  // namespace asap
