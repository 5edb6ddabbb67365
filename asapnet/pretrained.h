// What frozen networks trained on ImageNet share: their convolutions from a file with torchvision's keys, and the
// normalisation of their input. Sits on nn/state_dict.h. Next: vgg.h, feature_net.h.
#pragma once

#include <string>
#include <utility>

#include "nn/state_dict.h"

namespace asap::asapnet {

struct PretrainedConv {
  Tensor weight, bias;  // undefined if the file has none that fits
};

// Takes convolutions one by one and remembers what does not fit, to tell it all at once.
class PretrainedConvs {
 public:
  explicit PretrainedConvs(const nn::StateDict& weights) : weights_(weights) {}

  // KEY.weight [out,in,kernel,kernel] and KEY.bias [out], or the batch norm behind it, which is folded in; in < 0 accepts any.
  PretrainedConv take(const std::string& key, int64_t in, int64_t kernel);
  // asap::Error: "SOURCE: not the weights of a NETWORK:" and a line for each key that is missing or mis-shaped.
  void check(const std::string& source, const std::string& network) const;

 private:
  const nn::StateDict& weights_;
  std::string problems_;
};

// Scale and shift [1,3,1,1] that take RGB in [-1,1] to ImageNet statistics: (x01 - mean) / deviation, x01 = (x + 1) / 2.
std::pair<Tensor, Tensor> imagenet_normalisation();

}  // namespace asap::asapnet
