// Instance and batch norm, with their fused activation, beside their gradients; layer and group norm, which are made of
// instance norm. Declared in ops.h.
#include "autograd/ops.h"
#include "autograd/parameters.h"

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

// y * gamma + beta, of shape `own` and seen as `along`; each may be undefined.
Variable with_parameters(const char* op, Variable y, const Variable& gamma, const Variable& beta, const Shape& own,
                         const Shape& along) {
  const auto seen = [&](const Variable& parameter) {
    checks::has_shape(op, "gamma and beta", parameter.value(), own);
    return reshape(parameter, along);
  };
  if (gamma.defined()) y = mul_parameter(op, y, seen(gamma));
  if (beta.defined()) y = add_parameter(op, y, seen(beta));
  return y;
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

// What shares a mean is a plane of an instance norm. Its gamma and beta belong to planes, those of these norms lie otherwise.
Variable layer_norm(const Variable& x, const Shape& normalized, const Variable& gamma, const Variable& beta, double eps) {
  const int leading = x.rank() - normalized.rank();
  ASAP_CHECK(normalized.rank() > 0 && leading >= 0 && Shape(x.shape().begin() + leading, x.shape().end()) == normalized,
             "layer_norm: expected x [...] that ends in ", normalized, ", got ", x.shape());
  const int64_t rows = Shape(x.shape().begin(), x.shape().begin() + leading).numel();
  const Variable planes = reshape(x, {1, rows, normalized.numel()});
  const Variable y = reshape(instance_norm(planes, {}, {}, {.eps = eps}), x.shape());
  return with_parameters("layer_norm", y, gamma, beta, normalized, normalized);
}

Variable group_norm(const Variable& x, int64_t groups, const Variable& gamma, const Variable& beta, double eps) {
  ASAP_CHECK(x.rank() >= 2, "group_norm: expected x [N,C,...], got shape ", x.shape());
  const int64_t N = x.size(0), C = x.size(1);
  ASAP_CHECK(groups > 0 && C % groups == 0, "group_norm: ", groups, " groups do not divide ", C, " channels");
  const int64_t plane = C / groups * Shape(x.shape().begin() + 2, x.shape().end()).numel();
  const Variable planes = instance_norm(reshape(x, {N, groups, plane}), {}, {}, {.eps = eps});
  const Variable y = convert(reshape(planes, x.shape()), x.dtype(), x.value().layout());
  Shape along = x.shape();
  for (int d = 0; d < x.rank(); ++d) along[d] = d == 1 ? C : 1;
  return with_parameters("group_norm", y, gamma, beta, {C}, along);
}

}  // namespace asap
