// Declared in norms.h.
#include "nn/norms.h"

namespace asap::nn {

InstanceNorm2d::InstanceNorm2d(int64_t channels, bool affine, double activation_slope, double eps)
    : channels_(channels), params_{.eps = eps, .activation_slope = activation_slope} {
  if (!affine) return;
  weight = register_parameter("weight", Tensor::ones({channels}));
  bias = register_parameter("bias", Tensor::zeros({channels}));
}
Variable InstanceNorm2d::forward(const Variable& x) {
  ASAP_CHECK(x.rank() == 4 && x.size(1) == channels_, "InstanceNorm2d: expected [N,", channels_, ",H,W], got ", x.shape());
  return instance_norm(x, weight, bias, params_);
}

BatchNorm::BatchNorm(const char* name, std::string shapes, int least, int most, int64_t channels, double momentum, double eps,
                     bool affine)
    : name_(name),
      shapes_(std::move(shapes)),
      least_(least),
      most_(most),
      channels_(channels),
      momentum_(momentum),
      eps_(eps) {
  if (affine) {
    weight = register_parameter("weight", Tensor::ones({channels}));
    bias = register_parameter("bias", Tensor::zeros({channels}));
  }
  running_mean_ = register_buffer("running_mean", Tensor::zeros({channels}));
  running_var_ = register_buffer("running_var", Tensor::ones({channels}));
  batches_ = register_buffer("num_batches_tracked", Tensor::zeros({}, DType::i32));
}

Variable BatchNorm::forward(const Variable& x) {
  ASAP_CHECK(x.rank() >= least_ && x.rank() <= most_ && x.size(1) == channels_, name_, ": expected ", shapes_, ", got ",
             x.shape());
  if (!is_training()) {
    Shape per_channel = x.shape();
    for (int d = 0; d < x.rank(); ++d) per_channel[d] = d == 1 ? channels_ : 1;
    const Variable deviation = sqrt(running_var_ + eps_);
    if (!weight.defined()) return (x - reshape(running_mean_, per_channel)) / reshape(deviation, per_channel);
    const Variable scale = weight / deviation;
    return x * reshape(scale, per_channel) + reshape(bias - running_mean_ * scale, per_channel);
  }
  const auto count = static_cast<double>(x.numel() / channels_);
  ASAP_CHECK(count > 1, name_, ": training needs more than one value per channel, got ", x.shape());
  const auto [y, mean, rstd] = batch_norm(x, weight, bias, {.eps = eps_});
  const NoGrad no_grad;
  const Variable variance = (pow(Variable(rstd), -2) - eps_) * (count / (count - 1));
  Tensor running_mean = running_mean_.value(), running_var = running_var_.value(), batches = batches_.value();
  running_mean.copy_from((running_mean_ * (1 - momentum_) + Variable(mean) * momentum_).value());
  running_var.copy_from((running_var_ * (1 - momentum_) + variance * momentum_).value());
  batches.copy_from(affine(batches.to(DType::f64), 1, 1));  // on the device; f64 counts exactly
  return y;
}

LayerNorm::LayerNorm(const Shape& normalized, bool affine, double eps) : normalized_(normalized), eps_(eps) {
  if (!affine) return;
  weight = register_parameter("weight", Tensor::ones(normalized));
  bias = register_parameter("bias", Tensor::zeros(normalized));
}

GroupNorm::GroupNorm(int64_t groups, int64_t channels, bool affine, double eps)
    : groups_(groups), channels_(channels), eps_(eps) {
  ASAP_CHECK(groups > 0 && channels > 0 && channels % groups == 0, "GroupNorm: ", groups, " groups do not divide ", channels,
             " channels");
  if (!affine) return;
  weight = register_parameter("weight", Tensor::ones({channels}));
  bias = register_parameter("bias", Tensor::zeros({channels}));
}
Variable GroupNorm::forward(const Variable& x) {
  ASAP_CHECK(x.rank() >= 2 && x.size(1) == channels_, "GroupNorm: expected [N,", channels_, ",...], got ", x.shape());
  return group_norm(x, groups_, weight, bias, eps_);
}

}  // namespace asap::nn
