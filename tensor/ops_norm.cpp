// Checked instance and batch normalisation. Declared in ops.h; definitions/norm.h.
#include "tensor/operands.h"
#include "tensor/ops.h"

namespace asap {
namespace {

void check_norm(const char* op, const Tensor& x, const Tensor& gamma, const Tensor& beta) {
  checks::is_floating(op, "x", x);
  ASAP_CHECK(x.rank() >= 2, op, ": expected x [N,C,...], got shape ", x.shape());
  ASAP_CHECK(gamma.defined() == beta.defined(), op, ": expected gamma and beta both defined or both undefined");
  if (!gamma.defined()) return;
  for (const auto& [what, parameter] : {std::pair("gamma", gamma), std::pair("beta", beta)}) {
    checks::has_sum_dtype(op, what, x, parameter);
    checks::has_shape(op, what, parameter, {x.size(1)});
  }
}

NormResult forward(const KernelSlot<NormForwardFn>& slot, const char* op, const Shape& statistics, const Tensor& x,
                   const Tensor& gamma, const Tensor& beta, const NormParams& params) {
  const auto statistic = [&] { return Tensor::empty(statistics, sum_dtype(x.dtype()), x.device()); };
  NormResult result{Tensor::like(x), statistic(), statistic()};
  ASAP_CHECK(x.numel() > 0 || statistics.numel() == 0, op, ": ", x.shape(), " has no elements to take a mean of");
  if (x.numel() > 0) slot.run(x.device(), x, gamma, beta, params, result.y, result.mean, result.rstd);
  return result;
}

NormGrads backward(const KernelSlot<NormBackwardFn>& slot, const char* op, const Shape& statistics, const Tensor& x,
                   const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& rstd, const Tensor& dy,
                   const NormParams& params) {
  checks::alike(op, x, dy);
  checks::has_shape(op, "dy", dy, x.shape());
  for (const auto& [what, statistic] : {std::pair("mean", mean), std::pair("rstd", rstd)}) {
    checks::has_sum_dtype(op, what, x, statistic);
    checks::has_shape(op, what, statistic, statistics);
  }
  NormGrads grads{.dx = Tensor::like(x), .dgamma = {}, .dbeta = {}};
  if (gamma.defined()) {
    grads.dgamma = Tensor::like(gamma);
    grads.dbeta = Tensor::like(beta);
  }
  if (x.numel() > 0) {
    slot.run(x.device(), x, gamma, beta, mean, rstd, cotangent_operand(x, dy), params, grads.dx, grads.dgamma,
             grads.dbeta);
  } else if (gamma.defined()) {
    grads.dgamma.fill(0);
    grads.dbeta.fill(0);
  }
  return grads;
}

}  // namespace

NormResult instance_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params) {
  check_norm("instance_norm", x, gamma, beta);
  return forward(kernels::instance_norm_forward, "instance_norm", {x.size(0), x.size(1)}, x, gamma, beta, params);
}

NormGrads instance_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                 const Tensor& rstd, const Tensor& dy, const NormParams& params) {
  check_norm("instance_norm_backward", x, gamma, beta);
  return backward(kernels::instance_norm_backward, "instance_norm_backward", {x.size(0), x.size(1)}, x, gamma, beta,
                  mean, rstd, dy, params);
}

NormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params) {
  check_norm("batch_norm", x, gamma, beta);
  return forward(kernels::batch_norm_forward, "batch_norm", {x.size(1)}, x, gamma, beta, params);
}

NormGrads batch_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                              const Tensor& rstd, const Tensor& dy, const NormParams& params) {
  check_norm("batch_norm_backward", x, gamma, beta);
  return backward(kernels::batch_norm_backward, "batch_norm_backward", {x.size(1)}, x, gamma, beta, mean, rstd, dy,
                  params);
}

}  // namespace asap
