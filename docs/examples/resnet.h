// ResNet-18 (He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016, arXiv 1512.03385). Parameters have
// torchvision's names, so that its checkpoint files load unchanged. Next: resnet18.cpp trains it, or names what is in a photo.
#pragma once

#include "nn/layers.h"

namespace asap::examples {

inline nn::Conv2dOptions conv_without_bias(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return {.in = in, .out = out, .kernel = kernel, .stride = stride, .padding = kernel / 2, .bias = false};
}

// relu(x + bn(conv(relu(bn(conv(x)))))), with a 1x1 convolution on the shortcut where the shape changes.
class BasicBlock : public nn::Layer {
 public:
  BasicBlock(int64_t in, int64_t out, int64_t stride)
      : conv1_(register_module<nn::Conv2d>("conv1", conv_without_bias(in, out, 3, stride))),
        bn1_(register_module<nn::BatchNorm2d>("bn1", out)),
        conv2_(register_module<nn::Conv2d>("conv2", conv_without_bias(out, out, 3, 1))),
        bn2_(register_module<nn::BatchNorm2d>("bn2", out)) {
    if (in == out && stride == 1) return;
    downsample_ = &register_module<nn::Sequential>("downsample");
    downsample_->add<nn::Conv2d>(conv_without_bias(in, out, 1, stride));
    downsample_->add<nn::BatchNorm2d>(out);
  }
  Variable forward(const Variable& x) override {
    const Variable shortcut = downsample_ ? (*downsample_)(x) : x;
    return relu(shortcut + bn2_(conv2_(relu(bn1_(conv1_(x))))));
  }

 private:
  nn::Conv2d& conv1_;
  nn::BatchNorm2d& bn1_;
  nn::Conv2d& conv2_;
  nn::BatchNorm2d& bn2_;
  nn::Sequential* downsample_ = nullptr;
};

// x [N,3,H,W] -> logits [N,classes]. The published width is 64; its layers have width, 2, 4 and 8 times as many channels.
class ResNet18 : public nn::Layer {
 public:
  explicit ResNet18(int64_t classes = 1000, int64_t width = 64)
      : conv1_(register_module<nn::Conv2d>("conv1", conv_without_bias(3, width, 7, 2))),
        bn1_(register_module<nn::BatchNorm2d>("bn1", width)),
        layers_{&layer("layer1", width, width, 1), &layer("layer2", width, 2 * width, 2),
                &layer("layer3", 2 * width, 4 * width, 2), &layer("layer4", 4 * width, 8 * width, 2)},
        fc_(register_module<nn::Linear>("fc", 8 * width, classes)) {}

  Variable forward(const Variable& x) override {
    Variable h = max_pool2d(relu(bn1_(conv1_(x))), {.kernel = 3, .stride = 2, .padding = 1});
    for (nn::Sequential* layer : layers_) h = (*layer)(h);
    return fc_(mean(h, {2, 3}));
  }

 private:
  nn::Sequential& layer(const char* name, int64_t in, int64_t out, int64_t stride) {
    auto& blocks = register_module<nn::Sequential>(name);
    blocks.add<BasicBlock>(in, out, stride);
    blocks.add<BasicBlock>(out, out, 1);
    return blocks;
  }
  nn::Conv2d& conv1_;
  nn::BatchNorm2d& bn1_;
  std::vector<nn::Sequential*> layers_;
  nn::Linear& fc_;
};

}  // namespace asap::examples
