// Instance and batch norm, with their fused activation, beside their gradients. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {
namespace {

Tensor value_or_undefined(const Variable& v) { return v.defined() ? v.value() : Tensor(); }

using NormBackward = NormGrads (*)(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                   const Tensor& rstd, const Tensor& dy, const NormParams&);

// The output is not kept: the gradient recomputes it from x and the statistics.
Variable record_norm(const char* op, NormBackward gradient, const NormResult& result, const Variable& x,
                     const Variable& gamma, const Variable& beta, const NormParams& params) {
  auto backward = [op, gradient, params, saved_x = Saved(x.value()), saved_gamma = Saved(value_or_undefined(gamma)),
                   saved_beta = Saved(value_or_undefined(beta)), saved_mean = Saved(result.mean),
                   saved_rstd = Saved(result.rstd)](const Tensor& dy, std::span<const bool>) -> std::vector<Tensor> {
    NormGrads grads = gradient(saved_x.get(op), saved_gamma.get(op), saved_beta.get(op), saved_mean.get(op),
                               saved_rstd.get(op), dy, params);
    return {std::move(grads.dx), std::move(grads.dgamma), std::move(grads.dbeta)};
  };
  return make_result(op, result.y, {x, gamma, beta}, backward);
}

}  // namespace

Variable instance_norm(const Variable& x, const Variable& gamma, const Variable& beta, const NormParams& params) {
  const NormResult result = instance_norm(x.value(), value_or_undefined(gamma), value_or_undefined(beta), params);
  return record_norm("instance_norm", instance_norm_backward, result, x, gamma, beta, params);
}

BatchNormResult batch_norm(const Variable& x, const Variable& gamma, const Variable& beta, const NormParams& params) {
  const NormResult result = batch_norm(x.value(), value_or_undefined(gamma), value_or_undefined(beta), params);
  return {record_norm("batch_norm", batch_norm_backward, result, x, gamma, beta, params), result.mean, result.rstd};
}

}  // namespace asap
