// Networks trained to recognise things, as feature extractors: what Frechet and kernel distances between sets of pictures
// are measured in (feature_distance.h). Recognised by the keys of the file.
//   MobileNetV2     1280 features behind the last convolution
//   SqueezeNet 1.1  512 features before the classifier
//   Inception-v3    2048 features before the classifier, as pytorch-fid computes them
// Sits on backbones.h. Next: feature_distance.h.
#pragma once

#include <string>

#include "asapnet/backbones.h"

namespace asap::asapnet {

class FeatureNet {
 public:
  // asap::Error: none of these networks, or keys that are missing or mis-shaped.
  FeatureNet(const nn::StateDict& weights, const std::string& source);

  // RGB f32 [N,3,H,W] in [-1,1] -> f32 [N,dimensions], the last features' mean over all places. H and W are side(); where that is
  // 0 they may be any, and the network sees the pictures resized to 299x299, bilinearly and without antialiasing.
  Tensor forward(const Tensor& x) const;

  const std::string& name() const { return net_.name; }
  int64_t dimensions() const { return net_.channels(); }
  int side() const { return is_inception_ ? 0 : 224; }

 private:
  bool is_inception_;
  Backbone net_;
};

}  // namespace asap::asapnet
