// VGG-19 up to relu5_1 as a frozen feature net for the perceptual loss (Johnson et al. 2016; docs/asapnet.md, Perceptual
// loss). Channel widths come from the weights, so torchvision's file and narrower distillations load alike.
// Next: losses.h.
#pragma once

#include <array>

#include "autograd/ops.h"
#include "nn/state_dict.h"

namespace asap::asapnet {

class Vgg19 {
 public:
  static constexpr int kFeatures = 5;  // relu1_1, relu2_1, relu3_1, relu4_1, relu5_1

  // torchvision's keys features.{0,2,5,7,10,12,14,16,19,21,23,25,28}.{weight,bias}; later layers and the classifier
  // are ignored. aux.relu{1..5}_1.{weight,bias}, 1x1 convolutions, are applied to the features if the file has them (all
  // or none). Throws one Error listing missing and mis-shaped keys; `source` names the file.
  // normalise: take x in [-1,1] to ImageNet statistics first.
  Vgg19(const nn::StateDict& weights, bool normalise, const std::string& source = "VGG-19 weights");

  // x [N,3,H,W] in [-1,1], H and W at least 16 -> the five features, halving in size from relu1_1's H x W.
  std::array<Variable, kFeatures> forward(const Variable& x) const;

  bool has_aux() const { return aux_[0].weight.defined(); }
  // To a DType or a Device.
  template <class Target>
  void to(Target target);
  // Where the first weights are: another place after to().
  const void* memory() const { return convs_[0].weight.value().raw(); }

 private:
  struct Conv {
    Variable weight, bias;
  };
  std::vector<Conv> convs_;  // the 13 convolutions in order
  std::array<Conv, kFeatures> aux_;
  Tensor scale_, shift_;  // [1,3,1,1]: x * scale + shift is the normalised input; undefined without normalisation
};

// The keys and shapes of torchvision's file as far as they are used, f32, without values.
nn::StateDict vgg19_shapes();

template <class Target>
void Vgg19::to(Target target) {
  const auto move = [target](Variable& v) {
    if (v.defined()) v.set_value(v.value().to(target));
  };
  for (Conv& conv : convs_) move(conv.weight), move(conv.bias);
  for (Conv& conv : aux_) move(conv.weight), move(conv.bias);
  for (Tensor* t : {&scale_, &shift_}) {
    if (t->defined()) *t = t->to(target);
  }
}

}  // namespace asap::asapnet
