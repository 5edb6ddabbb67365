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

// [C]: a mean of the whole batch, else [N,C].
Shape statistics_shape(const Tensor& x, bool whole_batch) {
  return whole_batch ? Shape{x.size(1)} : Shape{x.size(0), x.size(1)};
}

NormResult forward(const char* op, bool whole_batch, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                   const NormParams& params) {
  check_norm(op, x, gamma, beta);
  const Tensor mean = Tensor::empty(statistics_shape(x, whole_batch), sum_dtype(x.dtype()), x.device());
  NormResult result{Tensor::like(x), mean, Tensor::like(mean)};
  ASAP_CHECK(x.numel() > 0 || mean.numel() == 0, op, ": ", x.shape(), " has no elements to take a mean of");
  if (x.numel() > 0) {
    kernels::norm_forward.run(x.device(), x, gamma, beta, params, result.y, result.mean, result.rstd);
  }
  return result;
}

NormGrads backward(const char* op, bool whole_batch, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                   const Tensor& mean, const Tensor& rstd, const Tensor& dy, const NormParams& params) {
  check_norm(op, x, gamma, beta);
  checks::alike(op, x, dy);
  checks::has_shape(op, "dy", dy, x.shape());
  for (const auto& [what, statistic] : {std::pair("mean", mean), std::pair("rstd", rstd)}) {
    checks::has_sum_dtype(op, what, x, statistic);
    checks::has_shape(op, what, statistic, statistics_shape(x, whole_batch));
  }
  NormGrads grads{.dx = Tensor::like(x), .dgamma = {}, .dbeta = {}};
  if (gamma.defined()) {
    grads.dgamma = Tensor::like(gamma);
    grads.dbeta = Tensor::like(beta);
  }
  if (x.numel() > 0) {
    kernels::norm_backward.run(x.device(), x, gamma, beta, mean, rstd, cotangent_operand(x, dy), params, grads.dx,
                               grads.dgamma, grads.dbeta);
  } else if (gamma.defined()) {
    grads.dgamma.fill(0);
    grads.dbeta.fill(0);
  }
  return grads;
}

}  // namespace

NormResult instance_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params) {
  return forward("instance_norm", false, x, gamma, beta, params);
}

NormGrads instance_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                                 const Tensor& rstd, const Tensor& dy, const NormParams& params) {
  return backward("instance_norm_backward", false, x, gamma, beta, mean, rstd, dy, params);
}

NormResult batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& params) {
  return forward("batch_norm", true, x, gamma, beta, params);
}

NormGrads batch_norm_backward(const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean,
                              const Tensor& rstd, const Tensor& dy, const NormParams& params) {
  return backward("batch_norm_backward", true, x, gamma, beta, mean, rstd, dy, params);
}

}  // namespace asap
