// pix2pixHD's global generator (Wang, Liu, Zhu, Tao, Kautz, Catanzaro: High-Resolution Image Synthesis and Semantic Manipulation with
// Conditional GANs, CVPR 2018, arXiv 1711.11585), written from the paper, under the published names of parameters.
// Next: pix2pixhd.cpp trains a small one.
#pragma once

#include "nn/layers.h"

namespace asap::examples {

struct Pix2pixHdOptions {
  int64_t classes = 13;
  int64_t width = 64;    // channels of the first convolution, doubled at every halving
  int64_t halvings = 4;  // of the picture's sides, before the residual blocks
  int64_t blocks = 9;
};

// The published Sequentials number padding layers and ReLUs, too. Here the padding is part of the convolution and the ReLU of
// the norm, in the same pass; identities keep their places.
inline void add_place(nn::Sequential& layers) { layers.add<nn::Identity>(); }
inline void add_reflected_conv(nn::Sequential& layers, int64_t in, int64_t out, int64_t kernel) {
  add_place(layers);
  layers.add<nn::Conv2d>(
      nn::Conv2dOptions{.in = in, .out = out, .kernel = kernel, .padding = kernel / 2, .pad_mode = PadMode::reflect});
}
inline void add_norm_relu(nn::Sequential& layers, int64_t channels) {
  layers.add<nn::InstanceNorm2d>(channels, false, 0.0);
  add_place(layers);
}

// x + norm(conv(relu(norm(conv(x)))))
class ResidualBlock : public nn::Layer {
 public:
  explicit ResidualBlock(int64_t channels) : layers_(register_module<nn::Sequential>("conv_block")) {
    add_reflected_conv(layers_, channels, channels, 3);
    add_norm_relu(layers_, channels);
    add_reflected_conv(layers_, channels, channels, 3);
    layers_.add<nn::InstanceNorm2d>(channels);
  }
  Variable forward(const Variable& x) override { return x + layers_(x); }

 private:
  nn::Sequential& layers_;
};

// labels [N,classes,H,W], one-hot; H and W multiples of 2^halvings -> picture [N,3,H,W] in [-1,1]. The paper's c7s1-64, d128, d256,
// d512, d1024, nine R1024, u512, u256, u128, u64, c7s1-3.
class Pix2pixHdGenerator : public nn::Layer {
 public:
  explicit Pix2pixHdGenerator(const Pix2pixHdOptions& options) : layers_(register_module<nn::Sequential>("model")) {
    int64_t channels = options.width;
    add_reflected_conv(layers_, options.classes, channels, 7);
    add_norm_relu(layers_, channels);
    for (int64_t i = 0; i < options.halvings; ++i, channels *= 2) {
      layers_.add<nn::Conv2d>(
          nn::Conv2dOptions{.in = channels, .out = 2 * channels, .kernel = 3, .stride = 2, .padding = 1});
      add_norm_relu(layers_, 2 * channels);
    }
    for (int64_t i = 0; i < options.blocks; ++i) layers_.add<ResidualBlock>(channels);
    for (int64_t i = 0; i < options.halvings; ++i, channels /= 2) {
      layers_.add<nn::ConvTranspose2d>(nn::ConvTranspose2dOptions{
          .in = channels, .out = channels / 2, .kernel = 3, .stride = 2, .padding = 1, .output_padding = 1});
      add_norm_relu(layers_, channels / 2);
    }
    add_reflected_conv(layers_, channels, 3, 7);
    layers_.add<nn::Tanh>();
  }
  Variable forward(const Variable& labels) override { return layers_(labels); }

 private:
  nn::Sequential& layers_;
};

}  // namespace asap::examples
