// From pictures to pooled features. Declared in feature_net.h.
#include "asapnet/feature_net.h"

#include "tensor/error.h"
#include "tensor/ops.h"

namespace asap::asapnet {
namespace {

constexpr const char* kInceptionKey = "Conv2d_1a_3x3.conv.weight";

Backbone recognised(const nn::StateDict& weights, const std::string& source) {
  const bool inception = weights.contains(kInceptionKey);
  PretrainedConvs file(weights, inception ? 1e-3 : 1e-5);
  const bool mobilenet = weights.contains("features.18.0.weight");
  ASAP_CHECK(
      inception || mobilenet || weights.contains("features.3.squeeze.weight"), source,
      ": expected the weights of MobileNetV2 (features.18.0.weight) or SqueezeNet 1.1 (features.3.squeeze.weight) with "
      "torchvision's keys or of Inception-v3 (",
      kInceptionKey, ") with pytorch-fid's, found none of them");
  const Backbone net = inception ? inception_v3(file) : mobilenet ? mobilenet_v2(file) : squeezenet(file);
  file.check(source, net.name);
  return net;
}

}  // namespace

FeatureNet::FeatureNet(const nn::StateDict& weights, const std::string& source)
    : is_inception_(weights.contains(kInceptionKey)), net_(recognised(weights, source)) {}

Tensor FeatureNet::forward(const Tensor& x) const {
  const int64_t wanted = side();
  ASAP_CHECK(x.rank() == 4 && x.size(1) == 3 && (wanted == 0 || (x.size(2) == wanted && x.size(3) == wanted)), name(),
             ": expected pictures (n,3,", wanted ? str(wanted, ",", wanted) : "h,w", "), got ", x.shape());
  Tensor y;
  if (is_inception_) {
    y = resize2d(x, {299, 299}, ResizeMode::bilinear);
  } else {
    const auto [scale, shift] = imagenet_normalisation();
    y = add(mul(x, scale), shift);
  }
  for (const FrozenPath& layer : net_.layers) y = layer.forward(y);
  return mean(y, {2, 3});
}

}  // namespace asap::asapnet
