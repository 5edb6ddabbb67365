// Layers that normalise. Weights start as ones, biases as zeros.
#pragma once

#include <string>

#include "nn/module.h"

namespace asap::nn {

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

// Ioffe & Szegedy 2015. Training: statistics over all but the channels, running ones move by `momentum` (variance unbiased);
// else the running ones. State: weight and bias, if affine, running_mean, running_var [C], num_batches_tracked.
class BatchNorm : public Layer {
 public:
  Variable forward(const Variable& x) override;
  Variable weight, bias;

 protected:
  // x has from `least` to `most` dimensions; `shapes` says so in errors.
  BatchNorm(const char* name, std::string shapes, int least, int most, int64_t channels, double momentum, double eps,
            bool affine);

 private:
  const char* name_;
  std::string shapes_;
  int least_, most_;
  int64_t channels_;
  Variable running_mean_, running_var_, batches_;
  double momentum_, eps_;
};
// x [N,C] or [N,C,L]
struct BatchNorm1d : BatchNorm {
  explicit BatchNorm1d(int64_t channels, double momentum = 0.1, double eps = 1e-5, bool affine = true)
      : BatchNorm("BatchNorm1d", str("[N,", channels, "] or [N,", channels, ",L]"), 2, 3, channels, momentum, eps, affine) {}
};
// x [N,C,H,W]
struct BatchNorm2d : BatchNorm {
  explicit BatchNorm2d(int64_t channels, double momentum = 0.1, double eps = 1e-5, bool affine = true)
      : BatchNorm("BatchNorm2d", str("[N,", channels, ",H,W]"), 4, 4, channels, momentum, eps, affine) {}
};

// Over the last dimensions, which are `normalized` (Ba et al. 2016); state if affine: weight, bias of that shape.
class LayerNorm : public Layer {
 public:
  explicit LayerNorm(const Shape& normalized, bool affine = true, double eps = 1e-5);
  Variable forward(const Variable& x) override { return layer_norm(x, normalized_, weight, bias, eps_); }
  Variable weight, bias;

 private:
  Shape normalized_;
  double eps_;
};

// Of x [N,C,...] over the channels of each group and all that follows (Wu & He 2018); state if affine: weight, bias [C].
class GroupNorm : public Layer {
 public:
  GroupNorm(int64_t groups, int64_t channels, bool affine = true, double eps = 1e-5);
  Variable forward(const Variable& x) override;
  Variable weight, bias;

 private:
  int64_t groups_, channels_;
  double eps_;
};

}  // namespace asap::nn
