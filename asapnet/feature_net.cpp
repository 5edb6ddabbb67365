// MobileNetV2 and SqueezeNet 1.1 up to their pooled features. Declared in feature_net.h.
#include "asapnet/feature_net.h"

#include <limits>

#include "tensor/error.h"

namespace asap::asapnet {
namespace {

constexpr double kLinear = -1, kRelu = std::numeric_limits<double>::infinity(), kRelu6 = 6;  // ceilings of activations

}  // namespace

FeatureNet::FeatureNet(const nn::StateDict& weights, const std::string& source) {
  PretrainedConvs file(weights);
  if (weights.contains("features.18.0.weight")) {
    name_ = "MobileNetV2";
    build_mobilenet_v2(file);
  } else if (weights.contains("features.3.squeeze.weight")) {
    name_ = "SqueezeNet 1.1";
    build_squeezenet(file);
  } else {
    fail(source +
         ": expected the weights of MobileNetV2 (features.18.0.weight) or SqueezeNet 1.1 "
         "(features.3.squeeze.weight) with torchvision's keys, found neither");
  }
  file.check(source, name_);
}

FeatureNet::Layer FeatureNet::conv(PretrainedConvs& file, const std::string& key, int64_t kernel,
                                   const Conv2dParams& params, double ceiling) {
  const PretrainedConv found = file.take(key, params.groups == 1 ? dimensions_ : 1, kernel);
  dimensions_ = found.weight.defined() ? found.weight.size(0) : -1;
  Conv2dParams fused = params;
  if (ceiling == kRelu) fused.activation_slope = 0;
  return [=](const Tensor& x) {
    const Tensor y = conv2d(x, found.weight, found.bias, fused);
    return ceiling == kRelu6 ? unary(UnaryOp::clamp, y, {.a = 0, .b = kRelu6}) : y;
  };
}

// A convolution, 17 inverted residual blocks, a convolution. A block widens by 1x1 (but for the first), filters each channel
// by 3x3 and narrows by 1x1, linearly; where it keeps the shape, its input is added.
void FeatureNet::build_mobilenet_v2(PretrainedConvs& file) {
  layers_.push_back(conv(file, "features.0.0", 3, {.stride = 2, .padding = 1}, kRelu6));
  for (int block = 1; block <= 17; ++block) {
    const std::string key = str("features.", block, ".conv.");
    const bool widens = block > 1;
    const bool halves = block == 2 || block == 4 || block == 7 || block == 14;
    const int64_t in = dimensions_;
    std::vector<Layer> parts;
    if (widens) parts.push_back(conv(file, key + "0.0", 1, {}, kRelu6));
    parts.push_back(conv(file, key + (widens ? "1.0" : "0.0"), 3,
                         {.stride = halves ? 2 : 1, .padding = 1, .groups = dimensions_}, kRelu6));
    parts.push_back(conv(file, key + (widens ? "2" : "1"), 1, {}, kLinear));
    const bool adds = !halves && in == dimensions_;
    layers_.push_back([=](const Tensor& x) {
      Tensor y = x;
      for (const Layer& part : parts) y = part(y);
      return adds ? add(x, y) : y;
    });
  }
  layers_.push_back(conv(file, "features.18.0", 1, {}, kRelu6));
}

// A convolution and 8 fire modules, which narrow by 1x1 and widen by 1x1 and 3x3 side by side, with three poolings between.
void FeatureNet::build_squeezenet(PretrainedConvs& file) {
  layers_.push_back(conv(file, "features.0", 3, {.stride = 2}, kRelu));
  for (int fire : {3, 4, 6, 7, 9, 10, 11, 12}) {
    if (fire == 3 || fire == 6 || fire == 9)
      layers_.push_back([](const Tensor& x) { return max_pool2d(x, {.kernel = 3, .stride = 2}).y; });
    const std::string key = str("features.", fire, ".");
    layers_.push_back(conv(file, key + "squeeze", 1, {}, kRelu));
    const int64_t narrow = dimensions_;
    const Layer one = conv(file, key + "expand1x1", 1, {}, kRelu);
    const int64_t beside = dimensions_;
    dimensions_ = narrow;
    const Layer three = conv(file, key + "expand3x3", 3, {.padding = 1}, kRelu);
    dimensions_ = beside < 0 || dimensions_ < 0 ? -1 : beside + dimensions_;
    layers_.push_back([=](const Tensor& x) { return cat({one(x), three(x)}, 1); });
  }
}

Tensor FeatureNet::forward(const Tensor& x) const {
  ASAP_CHECK(x.rank() == 4 && x.size(1) == 3 && x.size(2) == kSide && x.size(3) == kSide, name_,
             ": expected pictures (n,3,", kSide, ",", kSide, "), got ", x.shape());
  const auto [scale, shift] = imagenet_normalisation();
  Tensor y = add(mul(x, scale), shift);
  for (const Layer& layer : layers_) y = layer(y);
  return mean(y, {2, 3});
}

}  // namespace asap::asapnet
