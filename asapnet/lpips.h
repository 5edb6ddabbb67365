// LPIPS (Zhang, Isola, Efros, Shechtman, Wang: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, 2018):
// how different two pictures look, by the features of a network at several depths. Sits on backbones.h.
#pragma once

#include <string>
#include <vector>

#include "asapnet/backbones.h"

namespace asap::asapnet {

class Lpips {
 public:
  // backbone: torchvision's AlexNet, VGG-16 or SqueezeNet 1.1 (keys features.*). heads: lin0.model.1.weight, lin1..., [1,C,1,1] f32,
  // one for each depth. asap::Error: neither of these, keys that are missing or mis-shaped, heads of another backbone. `sources`: the
  // files' names.
  struct Sources {
    std::string backbone, heads;
  };
  Lpips(const nn::StateDict& backbone, const nn::StateDict& heads, const Sources& sources);

  // Of two pictures RGB f32 [1,3,H,W] in [-1,1], of equal size and sides of at least least_side(): for each depth, the features'
  // vector at every place is brought to length 1; the squared differences, weighted by the head, are summed over channels and
  // averaged over places; the sum of the depths. 0: equal. Convolutions in f32, the rest in f64.
  double distance(const Tensor& x, const Tensor& y) const;

  const std::string& name() const { return net_.name; }  // of the backbone
  int64_t least_side() const { return net_.least_side; }

 private:
  std::vector<Tensor> unit_features(const Tensor& x) const;

  Backbone net_;
  std::vector<Tensor> heads_;  // f64 [1,C,1,1]
};

}  // namespace asap::asapnet
