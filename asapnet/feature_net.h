// Networks trained to recognise things, as feature extractors: what Frechet and kernel distances between sets of pictures
// are measured in (feature_distance.h). Recognised by the keys of the file.
//   MobileNetV2     Sandler et al. 2018: 1280 features behind the last convolution
//   SqueezeNet 1.1  Iandola et al. 2016: 512 features before the classifier
// Next: feature_distance.h.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "asapnet/pretrained.h"
#include "tensor/ops.h"

namespace asap::asapnet {

class FeatureNet {
 public:
  static constexpr int kSide = 224;  // of the pictures that both were trained with

  // torchvision's keys, channel widths as they are. asap::Error: neither network, or keys that are missing or mis-shaped.
  FeatureNet(const nn::StateDict& weights, const std::string& source);

  // RGB f32 [N,3,kSide,kSide] in [-1,1] -> f32 [N,dimensions], the last features' mean over all places.
  Tensor forward(const Tensor& x) const;

  const std::string& name() const { return name_; }
  int64_t dimensions() const { return dimensions_; }

 private:
  using Layer = std::function<Tensor(const Tensor&)>;
  Layer conv(PretrainedConvs& file, const std::string& key, int64_t kernel, const Conv2dParams& params, double ceiling);
  void build_mobilenet_v2(PretrainedConvs& file);
  void build_squeezenet(PretrainedConvs& file);

  std::string name_;
  std::vector<Layer> layers_;
  int64_t dimensions_ = 3;  // while it is built: channels so far, -1 behind a convolution that is missing
};

}  // namespace asap::asapnet
