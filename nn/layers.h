// The layers: thin modules around autograd/ops.h. Weights start as PyTorch's do (uniform +-1/sqrt(fan_in)) unless a
// caller initialises them otherwise (init.h). Next: norms.h, attention.h, spectral_norm.h.
#pragma once

#include <functional>
#include <utility>

#include "nn/module.h"
#include "nn/norms.h"

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

struct Conv1dOptions {
  int64_t in = 0, out = 0;  // channels
  int64_t kernel = 1, stride = 1, padding = 0, dilation = 1, groups = 1;
  bool bias = true;
  PadMode pad_mode = PadMode::zero;
};

// x [N,in,L] -> [N,out,OL]; state: weight [out,in/groups,k], bias [out].
class Conv1d : public Layer {
 public:
  explicit Conv1d(const Conv1dOptions& options);
  Variable forward(const Variable& x) override;
  Variable weight, bias;

 private:
  Conv1dParams params_;
};

struct ConvTranspose2dOptions {
  int64_t in = 0, out = 0;  // channels
  Size2 kernel = 1, stride = 1, padding = 0, output_padding = 0, dilation = 1;
  int64_t groups = 1;
  bool bias = true;
};

// x [N,in,H,W] -> [N,out,OH,OW]; state: weight [in,out/groups,kh,kw], bias [out].
class ConvTranspose2d : public Layer {
 public:
  explicit ConvTranspose2d(const ConvTranspose2dOptions& options);
  Variable forward(const Variable& x) override;
  Variable weight, bias;

 private:
  ConvTranspose2dParams params_;
};

// x [...,in] -> [...,out]; state: weight [out,in], bias [out].
class Linear : public Layer {
 public:
  Linear(int64_t in, int64_t out, bool with_bias = true);
  Variable forward(const Variable& x) override;
  Variable weight, bias;
};

// Rows of a table, which start standard normal: indices i32 or u8 [...] -> [...,size]; state: weight [count,size].
class Embedding : public Layer {
 public:
  Embedding(int64_t count, int64_t size);
  Variable forward(const Variable& indices) override { return embedding(indices.value(), weight); }
  Variable weight;
};

// In training, zeros a share p of the elements and scales the others by 1 / (1 - p), by numbers of default_random().
class Dropout : public Layer {
 public:
  explicit Dropout(double p = 0.5) : p_(p) {}
  Variable forward(const Variable& x) override;

 private:
  double p_;
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
struct GELU : Function {
  explicit GELU(bool tanh_approximation = false) : Function([=](const Variable& x) { return gelu(x, tanh_approximation); }) {}
};
struct SiLU : Function {
  SiLU() : Function([](const Variable& x) { return silu(x); }) {}
};
struct MaxPool2d : Function {
  explicit MaxPool2d(const Pool2dParams& params) : Function([=](const Variable& x) { return max_pool2d(x, params); }) {}
};
struct AvgPool2d : Function {
  explicit AvgPool2d(const Pool2dParams& params) : Function([=](const Variable& x) { return avg_pool2d(x, params); }) {}
};
struct AdaptiveAvgPool2d : Function {
  explicit AdaptiveAvgPool2d(Size2 size) : Function([=](const Variable& x) { return adaptive_avg_pool2d(x, size); }) {}
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
