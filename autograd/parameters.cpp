// Declared in parameters.h.
#include "autograd/parameters.h"

namespace asap {

Variable add_parameter(const char* op, const Variable& y, const Variable& p) {
  checks::has_sum_dtype(op, "bias", y.value(), p.value());
  return make_result(op, add(y.value(), p.value().to(y.dtype())), {y, p},
                     [y_shape = y.shape(), p_shape = p.shape(), p_dtype = p.dtype()](
                         const Tensor& dy, std::span<const bool> needs) -> std::vector<Tensor> {
                       return {sum_to(dy, y_shape), needs[1] ? sum_to(dy, p_shape, p_dtype) : Tensor()};
                     });
}

Variable mul_parameter(const char* op, const Variable& y, const Variable& p) {
  checks::has_sum_dtype(op, "scale", y.value(), p.value());
  const Tensor factor = p.value().to(y.dtype());
  return make_result(op, mul(y.value(), factor), {y, p},
                     [op, saved_y = Saved(p.requires_grad() ? y.value() : Tensor()),
                      saved_factor = Saved(y.requires_grad() ? factor : Tensor()), p_shape = p.shape(), p_dtype = p.dtype()](
                         const Tensor& dy, std::span<const bool> needs) {
                       std::vector<Tensor> grads(2);
                       if (needs[0]) grads[0] = mul(dy, saved_factor.get(op));
                       if (needs[1]) grads[1] = sum_to(mul(dy, saved_y.get(op)), p_shape, p_dtype);
                       return grads;
                     });
}

}  // namespace asap
