// pix2pix (Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017, arXiv 1611.07004),
// section 6.1: a U-Net that makes the picture, and a discriminator that judges its patches. Instance norm is the paper's batch norm
// of batches of one picture. Next: pix2pix.cpp trains both.
#pragma once

#include "nn/init.h"
#include "nn/layers.h"

namespace asap::examples {

struct UNetOptions {
  int64_t classes = 13;
  int64_t width = 64;    // channels after the first halving, doubled at each further one up to 8 times as many
  int64_t halvings = 8;  // of the picture's sides
  double dropout = 0.5;  // of the first three doublings: the generator's only noise, in the paper in use as well
};

// labels [N,classes,H,W], one-hot; H and W multiples of 2^halvings -> picture [N,3,H,W] in [-1,1].
class UNet : public nn::Layer {
 public:
  explicit UNet(const UNetOptions& options)
      : dropout_(options.dropout),
        down_(register_module<nn::ModuleList<>>("down")),
        up_(register_module<nn::ModuleList<>>("up")) {
    std::vector<int64_t> channels{options.classes};  // before each halving
    for (int64_t i = 0; i < options.halvings; ++i) {
      const int64_t out = std::min(options.width << i, 8 * options.width);
      down_.add<nn::Conv2d>(
          nn::Conv2dOptions{.in = channels.back(), .out = out, .kernel = 4, .stride = 2, .padding = 1});
      channels.push_back(out);
    }
    for (int64_t i = options.halvings; i > 0; --i) {
      const int64_t in = i == options.halvings ? channels[i] : 2 * channels[i];  // with the skip connection's
      up_.add<nn::ConvTranspose2d>(nn::ConvTranspose2dOptions{
          .in = in, .out = i == 1 ? 3 : channels[i - 1], .kernel = 4, .stride = 2, .padding = 1});
    }
  }

  Variable forward(const Variable& labels) override {
    std::vector<Variable> skips;
    Variable x = labels;
    for (size_t i = 0; i < down_.size(); ++i) {
      x = down_[i](i == 0 ? x : leaky_relu(x, 0.2));
      if (i > 0 && i + 1 < down_.size()) x = instance_norm(x, {}, {});
      skips.push_back(x);
    }
    for (size_t i = 0; i < up_.size(); ++i) {
      if (i > 0) x = cat({x, skips[skips.size() - 1 - i]}, 1);
      x = up_[i](relu(x));
      if (i + 1 < up_.size()) x = instance_norm(x, {}, {});
      if (i < 3 && dropout_ > 0) x = dropout(x, dropout_, nn::default_random());
    }
    return tanh(x);
  }

 private:
  double dropout_;
  nn::ModuleList<>&down_, &up_;
};

// Labels and picture on channels [N,C,H,W] -> logits [N,1,H/4-2,W/4-2] of overlapping patches of 34x34 pixels (70x70 in the paper,
// with one more layer of stride 2).
class PatchGan : public nn::Layer {
 public:
  PatchGan(int64_t channels, int64_t width) : layers_(register_module<nn::Sequential>("layers")) {
    conv(channels, width, 2);
    layers_.add<nn::LeakyReLU>(0.2);
    for (const auto& [in, stride] : {std::pair{width, 2}, {2 * width, 1}}) {
      conv(in, 2 * in, stride);
      layers_.add<nn::InstanceNorm2d>(2 * in);
      layers_.add<nn::LeakyReLU>(0.2);
    }
    conv(4 * width, 1, 1);
  }
  Variable forward(const Variable& x) override { return layers_(x); }

 private:
  void conv(int64_t in, int64_t out, int64_t stride) {
    layers_.add<nn::Conv2d>(nn::Conv2dOptions{.in = in, .out = out, .kernel = 4, .stride = stride, .padding = 1});
  }
  nn::Sequential& layers_;
};

}  // namespace asap::examples
