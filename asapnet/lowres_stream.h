// The low-res stream (docs/asapnet.md; paper section 3.2): S1 fixed downsampling by a tent filter, S2 by strided
// convolutions, lr_depth convolutions at the grid's size, and a 1x1 convolution to phi, the weights of every tile's MLP.
// Next: highres_stream.h, generator.h.
#pragma once

#include <functional>

#include "asapnet/config.h"
#include "nn/layers.h"

namespace asap::asapnet {

// What a network with such weights keeps its activations in. Mixed precision: with the precision bf16 and f32 weights it is bf16;
// weights are rounded where they are multiplied, norms' statistics, gradients of weights, losses and optimisers stay f32. Not on a
// card, whose kernels of training round what they multiply as they read it.
DType activation_dtype(const Tensor& weight);

// Downsamples by `factor` (1: x itself): reflection pad factor/2, then the tent [1,3,..,3,1]/(2 factor^2) of length
// 2*factor with stride `factor`, along W, then along H. x [N,C,H,W] -> [N,C,H/factor,W/factor].
Variable tent_downsample(const Variable& x, int64_t factor);

// conv 3x3 (no bias) -> affine instance norm -> ReLU, padded as the configuration says. State: 0.weight, 1.weight, 1.bias.
class ConvNormRelu : public nn::Layer {
 public:
  ConvNormRelu(int64_t in, int64_t out, int64_t stride, const Config& config);
  Variable forward(const Variable& x) override;
  const Tensor& weight() const { return conv_.weight.value(); }
  const nn::Conv2d& conv() const { return conv_; }
  const nn::InstanceNorm2d& norm() const { return norm_; }

 private:
  nn::Conv2d& conv_;
  nn::InstanceNorm2d& norm_;
};

class LowresStream : public nn::Module {
 public:
  explicit LowresStream(const Config& config);
  // Gets every layer's output, the last one phi: to compare with a reference layer by layer.
  using Visit = std::function<void(const Variable&)>;
  // x [N,C,H,W] -> phi [N,P,H/S,W/S]. z [N,z_dim] is used only with condition_on_z.
  Variable forward(const Variable& x, const Variable& z = {}, const Visit& visit = {});
  // The same from class numbers and the instance channel (may be undefined).
  Variable forward(const Tensor& labels, const Tensor& instance, const Variable& z);

  // Its parts in the order of the forward pass, for who writes them down in another form (train/export/onnx_generator.cpp).
  const std::vector<ConvNormRelu*>& convs() const { return convs_; }
  const nn::Linear* z_to_features() const { return z_to_features_; }  // null without condition_on_z
  const nn::Conv2d& to_phi() const { return *to_phi_; }

 private:
  Variable downsample(const Variable& x);
  Variable phi(Variable h, const Variable& z, const Visit& visit);

  Config config_;
  std::vector<ConvNormRelu*> convs_;
  nn::Conv2d* to_phi_;
  nn::Linear* z_to_features_ = nullptr;
  Tensor tent_;  // weights of the fixed downsampling, of the last forward's type and device
};

// Channels of phi: the parameters of one tile's MLP.
int64_t phi_channels(const Config& config);

}  // namespace asap::asapnet
