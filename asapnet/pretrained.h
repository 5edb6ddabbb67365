// What frozen networks trained on ImageNet share: their convolutions from a file with torchvision's keys, as tensors or as parts of
// a network, and the normalisation of their input. Sits on nn/state_dict.h. Next: vgg.h, backbones.h.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "nn/state_dict.h"
#include "tensor/kernels.h"

namespace asap::asapnet {

struct PretrainedConv {
  Tensor weight, bias;  // undefined if the file has none that fits
};

// A part of a network, and how many channels come out of it: -1 behind a convolution that is missing.
struct FrozenPath {
  std::function<Tensor(const Tensor&)> forward;
  int64_t channels = 3;
};
// The empty part.
inline FrozenPath path_from(int64_t channels) {
  return {[](const Tensor& x) { return x; }, channels};
}
// `second` behind `first`.
FrozenPath then(const FrozenPath& first, const FrozenPath& second);
// Parts that read the same input, their outputs joined on channels.
FrozenPath side_by_side(const std::vector<FrozenPath>& parts);

// Ceilings of activations that begin at 0.
inline constexpr double kLinear = -1, kRelu = std::numeric_limits<double>::infinity(), kRelu6 = 6;

// Takes convolutions one by one and remembers what does not fit, to tell it all at once.
class PretrainedConvs {
 public:
  // norm_eps: of the batch norms.
  explicit PretrainedConvs(const nn::StateDict& weights, double norm_eps = 1e-5)
      : weights_(weights), norm_eps_(norm_eps) {}

  // KEY.weight [out,in,kernel.h,kernel.w] and KEY.bias [out], or the batch norm behind it, which is folded in; in < 0 accepts any.
  PretrainedConv take(const std::string& key, int64_t in, Size2 kernel);
  // `before`, the convolution and its activation.
  FrozenPath conv(const FrozenPath& before, const std::string& key, Size2 kernel, const Conv2dParams& params,
                  double ceiling);
  // asap::Error: "SOURCE: not the weights of NETWORK:" and a line for each key that is missing or mis-shaped.
  void check(const std::string& source, const std::string& network) const;

 private:
  const nn::StateDict& weights_;
  double norm_eps_;
  std::string problems_;
};

// Scale and shift [1,3,1,1] that take RGB in [-1,1] to ImageNet statistics: (x01 - mean) / deviation, x01 = (x + 1) / 2.
std::pair<Tensor, Tensor> imagenet_normalisation();

}  // namespace asap::asapnet
