// The layers: thin modules around autograd/ops.h. Weights start as PyTorch's do (uniform +-1/sqrt(fan_in)) unless a
// caller initialises them otherwise (init.h). Next: spectral_norm.h.
#pragma once

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

class ReLU : public Layer {
 public:
  Variable forward(const Variable& x) override { return relu(x); }
};
class LeakyReLU : public Layer {
 public:
  explicit LeakyReLU(double slope = 0.01) : slope_(slope) {}
  Variable forward(const Variable& x) override { return leaky_relu(x, slope_); }

 private:
  double slope_;
};
class Tanh : public Layer {
 public:
  Variable forward(const Variable& x) override { return tanh(x); }
};
class Sigmoid : public Layer {
 public:
  Variable forward(const Variable& x) override { return sigmoid(x); }
};
class MaxPool2d : public Layer {
 public:
  explicit MaxPool2d(const Pool2dParams& params) : params_(params) {}
  Variable forward(const Variable& x) override { return max_pool2d(x, params_); }

 private:
  Pool2dParams params_;
};
class AvgPool2d : public Layer {
 public:
  explicit AvgPool2d(const Pool2dParams& params) : params_(params) {}
  Variable forward(const Variable& x) override { return avg_pool2d(x, params_); }

 private:
  Pool2dParams params_;
};
class Pad2d : public Layer {
 public:
  explicit Pad2d(const Pad2dParams& params) : params_(params) {}
  Variable forward(const Variable& x) override { return pad2d(x, params_); }

 private:
  Pad2dParams params_;
};
// Multiplies height and width by a whole factor.
class Upsample : public Layer {
 public:
  explicit Upsample(int64_t factor, ResizeMode mode = ResizeMode::nearest) : factor_(factor), mode_(mode) {}
  Variable forward(const Variable& x) override;

 private:
  int64_t factor_;
  ResizeMode mode_;
};
// [N, ...] -> [N, rest]
class Flatten : public Layer {
 public:
  Variable forward(const Variable& x) override;
};

}  // namespace asap::nn
