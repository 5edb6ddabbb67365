// The layers: thin modules around autograd/ops.h. Weights start as PyTorch's do (uniform +-1/sqrt(fan_in)) unless a
// caller initialises them otherwise (init.h). Next: spectral_norm.h.
#pragma once

#include <functional>
#include <utility>

#include "nn/module.h"

namespace asap::nn {

struct Conv2dOptions {
  int64_t in = 0, out = 0;  // channels
  Size2 kernel = 1, stride = 1, padding = 0, dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  PadMode pad_mode = PadMode::zero;
  double activation_slope = 1;  // 1 none, 0 ReLU, between LeakyReLU, fused into the same pass
  Conv2dParams params() const {
    return {.stride = stride,
            .padding = padding,
            .dilation = dilation,
            .groups = groups,
            .pad_mode = pad_mode,
            .activation_slope = activation_slope};
  }
  Shape weight_shape() const;  // throws for what cannot be a convolution
};

// x [N,in,H,W] -> [N,out,OH,OW]; state: weight [out,in/groups,kh,kw], bias [out].
class Conv2d : public Layer {
 public:
  explicit Conv2d(const Conv2dOptions& options);
  Variable forward(const Variable& x) override;
  Conv2dParams params() const { return options_.params(); }
  Variable weight, bias;

 private:
  Conv2dOptions options_;
};

// x [N,in] -> [N,out]; state: weight [out,in], bias [out].
class Linear : public Layer {
 public:
  Linear(int64_t in, int64_t out, bool with_bias = true);
  Variable forward(const Variable& x) override;
  Variable weight, bias;
};

// Over H*W of each picture and channel, without running statistics (Ulyanov et al. 2016); state if affine: weight,
// bias [C]. activation_slope: 1 none, 0 ReLU, between LeakyReLU, fused into the same pass.
class InstanceNorm2d : public Layer {
 public:
  explicit InstanceNorm2d(int64_t channels, bool affine = false, double activation_slope = 1, double eps = 1e-5);
  Variable forward(const Variable& x) override;
  const NormParams& params() const { return params_; }
  Variable weight, bias;

 private:
  int64_t channels_;
  NormParams params_;
};

// Ioffe & Szegedy 2015. Training: statistics over N*H*W, running ones move by `momentum` (variance unbiased); else the
// running ones. State: weight, bias, running_mean, running_var [C], num_batches_tracked.
class BatchNorm2d : public Layer {
 public:
  explicit BatchNorm2d(int64_t channels, double momentum = 0.1, double eps = 1e-5);
  Variable forward(const Variable& x) override;
  Variable weight, bias;

 private:
  int64_t channels_;
  Variable running_mean_, running_var_, batches_;
  double momentum_, eps_;
};

// A layer without state.
class Function : public Layer {
 public:
  explicit Function(std::function<Variable(const Variable&)> function) : function_(std::move(function)) {}
  Variable forward(const Variable& x) override { return function_(x); }

 private:
  std::function<Variable(const Variable&)> function_;
};

struct ReLU : Function {
  ReLU() : Function([](const Variable& x) { return relu(x); }) {}
};
struct LeakyReLU : Function {
  explicit LeakyReLU(double slope = 0.01) : Function([=](const Variable& x) { return leaky_relu(x, slope); }) {}
};
struct Tanh : Function {
  Tanh() : Function([](const Variable& x) { return tanh(x); }) {}
};
struct Sigmoid : Function {
  Sigmoid() : Function([](const Variable& x) { return sigmoid(x); }) {}
};
struct MaxPool2d : Function {
  explicit MaxPool2d(const Pool2dParams& params) : Function([=](const Variable& x) { return max_pool2d(x, params); }) {}
};
struct AvgPool2d : Function {
  explicit AvgPool2d(const Pool2dParams& params) : Function([=](const Variable& x) { return avg_pool2d(x, params); }) {}
};
struct Pad2d : Function {
  explicit Pad2d(const Pad2dParams& params) : Function([=](const Variable& x) { return pad2d(x, params); }) {}
};
// Multiplies height and width by a whole factor.
struct Upsample : Function {
  explicit Upsample(int64_t factor, ResizeMode mode = ResizeMode::nearest);
};
// [N, ...] -> [N, rest]
struct Flatten : Function {
  Flatten();
};

}  // namespace asap::nn
