// Layers with state. Declared in layers.h.
#include "nn/layers.h"

#include "nn/init.h"

namespace asap::nn {

Shape Conv2dOptions::weight_shape() const {
  ASAP_CHECK(in > 0 && out > 0 && groups > 0 && in % groups == 0, "Conv2d: in=", in, ", out=", out, ", groups=", groups,
             " do not divide");
  ASAP_CHECK(kernel.h > 0 && kernel.w > 0, "Conv2d: expected a kernel with pixels, got ", kernel.h, " x ", kernel.w);
  return {out, in / groups, kernel.h, kernel.w};
}

Conv2d::Conv2d(const Conv2dOptions& options) : options_(options) {
  const Shape shape = options.weight_shape();
  const int64_t fan_in = shape.numel() / shape[0];
  weight = register_parameter("weight", init::default_weight(shape, fan_in));
  if (options.bias) bias = register_parameter("bias", init::default_weight({options.out}, fan_in));
}
Variable Conv2d::forward(const Variable& x) { return conv2d(x, weight, bias, options_.params()); }

Linear::Linear(int64_t in, int64_t out, bool with_bias) {
  weight = register_parameter("weight", init::default_weight({out, in}, in));
  if (with_bias) bias = register_parameter("bias", init::default_weight({out}, in));
}
Variable Linear::forward(const Variable& x) { return linear(x, weight, bias); }

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

BatchNorm2d::BatchNorm2d(int64_t channels, double momentum, double eps)
    : channels_(channels), momentum_(momentum), eps_(eps) {
  weight = register_parameter("weight", Tensor::ones({channels}));
  bias = register_parameter("bias", Tensor::zeros({channels}));
  running_mean_ = register_buffer("running_mean", Tensor::zeros({channels}));
  running_var_ = register_buffer("running_var", Tensor::ones({channels}));
  batches_ = register_buffer("num_batches_tracked", Tensor::zeros({}, DType::i32));
}

Variable BatchNorm2d::forward(const Variable& x) {
  ASAP_CHECK(x.rank() == 4 && x.size(1) == channels_, "BatchNorm2d: expected [N,", channels_, ",H,W], got ", x.shape());
  const Shape per_channel{1, channels_, 1, 1};
  if (!is_training()) {
    const Variable scale = weight / sqrt(running_var_ + eps_);
    return x * reshape(scale, per_channel) + reshape(bias - running_mean_ * scale, per_channel);
  }
  const auto count = static_cast<double>(x.size(0) * x.size(2) * x.size(3));
  ASAP_CHECK(count > 1, "BatchNorm2d: training needs more than one value per channel, got ", x.shape());
  const auto [y, mean, rstd] = batch_norm(x, weight, bias, {.eps = eps_});
  const NoGrad no_grad;
  const Variable variance = (pow(Variable(rstd), -2) - eps_) * (count / (count - 1));
  Tensor running_mean = running_mean_.value(), running_var = running_var_.value(), batches = batches_.value();
  running_mean.copy_from((running_mean_ * (1 - momentum_) + Variable(mean) * momentum_).value());
  running_var.copy_from((running_var_ * (1 - momentum_) + variance * momentum_).value());
  batches.copy_from(affine(batches.to(DType::f64), 1, 1));  // on the device; f64 counts exactly
  return y;
}

Upsample::Upsample(int64_t factor, ResizeMode mode)
    : Function([=](const Variable& x) {
        ASAP_CHECK(x.rank() == 4 && factor > 0, "Upsample: expected [N,C,H,W] and a positive factor, got ", x.shape(),
                   " and ", factor);
        const Size2 size{multiply_sizes(x.size(2), factor, "Upsample"), multiply_sizes(x.size(3), factor, "Upsample")};
        return resize2d(x, size, mode);
      }) {}

// Not numel / N: a batch may be empty.
Flatten::Flatten()
    : Function([](const Variable& x) {
        ASAP_CHECK(x.rank() >= 1, "Flatten: expected [N,...], got ", x.shape());
        return reshape(x, Shape{x.size(0), Shape(x.shape().begin() + 1, x.shape().end()).numel()});
      }) {}

}  // namespace asap::nn
