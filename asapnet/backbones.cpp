// MobileNetV2, SqueezeNet, AlexNet and VGG-16 as lists of layers. Declared in backbones.h; Inception-v3 is in inception.cpp.
#include "asapnet/backbones.h"

#include "tensor/ops.h"

namespace asap::asapnet {
namespace {

FrozenPath max_pool(int64_t channels, Size2 kernel) {
  return {[=](const Tensor& x) { return max_pool2d(x, {.kernel = kernel, .stride = 2}).y; }, channels};
}

// 3x3 with stride 2; a last window that the picture does not fill counts too. x comes from a ReLU, so zeros around it are nobody's
// maximum.
FrozenPath max_pool_to_the_end(int64_t channels) {
  return {[](const Tensor& x) {
            const int64_t right = (x.size(3) + 1) % 2, bottom = (x.size(2) + 1) % 2;
            const Tensor whole = right + bottom == 0 ? x : pad2d(x, {.right = right, .bottom = bottom});
            return max_pool2d(whole, {.kernel = 3, .stride = 2}).y;
          },
          channels};
}

}  // namespace

// A convolution, 17 inverted residual blocks, a convolution. A block widens by 1x1 (but for the first), filters each channel
// by 3x3 and narrows by 1x1, linearly; where it keeps the shape, its input is added.
Backbone mobilenet_v2(PretrainedConvs& file) {
  Backbone net{.name = "MobileNetV2"};
  net.layers.push_back(file.conv(path_from(3), "features.0.0", 3, {.stride = 2, .padding = 1}, kRelu6));
  for (int block = 1; block <= 17; ++block) {
    const std::string key = str("features.", block, ".conv.");
    const bool widens = block > 1;
    const bool halves = block == 2 || block == 4 || block == 7 || block == 14;
    const int64_t in = net.channels();
    FrozenPath path = path_from(in);
    if (widens) path = file.conv(path, key + "0.0", 1, {}, kRelu6);
    path = file.conv(path, key + (widens ? "1.0" : "0.0"), 3,
                     {.stride = halves ? 2 : 1, .padding = 1, .groups = path.channels}, kRelu6);
    path = file.conv(path, key + (widens ? "2" : "1"), 1, {}, kLinear);
    const bool adds = !halves && in == path.channels;
    net.layers.push_back(adds ? FrozenPath{[path](const Tensor& x) { return add(x, path.forward(x)); }, in} : path);
  }
  net.layers.push_back(file.conv(path_from(net.channels()), "features.18.0", 1, {}, kRelu6));
  return net;
}

// A convolution and 8 fire modules, which narrow by 1x1 and widen by 1x1 and 3x3 side by side, with three poolings between.
Backbone squeezenet(PretrainedConvs& file) {
  Backbone net{.name = "SqueezeNet 1.1", .least_side = 17};
  net.layers.push_back(file.conv(path_from(3), "features.0", 3, {.stride = 2}, kRelu));
  for (int fire : {3, 4, 6, 7, 9, 10, 11, 12}) {
    if (fire == 3 || fire == 6 || fire == 9) net.layers.push_back(max_pool_to_the_end(net.channels()));
    const std::string key = str("features.", fire, ".");
    const FrozenPath narrow = file.conv(path_from(net.channels()), key + "squeeze", 1, {}, kRelu);
    const FrozenPath begin = path_from(narrow.channels);
    net.layers.push_back(then(narrow, side_by_side({file.conv(begin, key + "expand1x1", 1, {}, kRelu),
                                                    file.conv(begin, key + "expand3x3", 3, {.padding = 1}, kRelu)})));
  }
  net.taps = {0, 3, 6, 8, 9, 10, 11};  // the convolution, fire 4, 7, 9, 10, 11, 12
  return net;
}

Backbone alexnet(PretrainedConvs& file) {
  Backbone net{.name = "AlexNet", .least_side = 31};
  const auto conv = [&](const char* key, int64_t kernel, const Conv2dParams& params) {
    net.taps.push_back(net.layers.size());
    net.layers.push_back(file.conv(path_from(net.channels()), key, kernel, params, kRelu));
  };
  conv("features.0", 11, {.stride = 4, .padding = 2});
  net.layers.push_back(max_pool(net.channels(), 3));
  conv("features.3", 5, {.padding = 2});
  net.layers.push_back(max_pool(net.channels(), 3));
  for (const char* key : {"features.6", "features.8", "features.10"}) conv(key, 3, {.padding = 1});
  return net;
}

// Five groups of 3x3 convolutions; LPIPS compares the last of each.
Backbone vgg16(PretrainedConvs& file) {
  Backbone net{.name = "VGG-16", .least_side = 16};
  int number = 0;  // torchvision counts convolutions, ReLUs and poolings
  for (int convolutions : {2, 2, 3, 3, 3}) {
    if (number > 0) {
      net.layers.push_back(max_pool(net.channels(), 2));
      ++number;
    }
    for (int i = 0; i < convolutions; ++i, number += 2)
      net.layers.push_back(file.conv(path_from(net.channels()), str("features.", number), 3, {.padding = 1}, kRelu));
    net.taps.push_back(net.layers.size() - 1);
  }
  return net;
}

}  // namespace asap::asapnet
