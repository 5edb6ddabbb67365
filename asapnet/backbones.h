// Networks trained to recognise things, without their classifiers, frozen: what pictures are compared by. Channel widths come from
// the file. MobileNetV2, SqueezeNet, AlexNet and VGG-16 have torchvision's keys and take ImageNet-normalised pictures;
// Inception-v3 those of pytorch-fid, and pictures in [-1,1]. Sits on pretrained.h. Next: feature_net.h, lpips.h.
#pragma once

#include <string>
#include <vector>

#include "asapnet/pretrained.h"

namespace asap::asapnet {

struct Backbone {
  std::string name;
  std::vector<FrozenPath> layers = {};
  std::vector<size_t> taps = {};  // numbers of the layers whose outputs LPIPS compares; none: not one of its backbones
  int64_t least_side = 1;         // of the pictures, for every tap to have a place
  int64_t channels() const { return layers.empty() ? 3 : layers.back().channels; }
};

// What is missing or does not fit is in file.check().
Backbone mobilenet_v2(PretrainedConvs& file);  // Sandler et al. 2018, up to the last convolution
Backbone squeezenet(PretrainedConvs& file);    // SqueezeNet 1.1, Iandola et al. 2016
Backbone alexnet(PretrainedConvs& file);       // Krizhevsky 2014 (arXiv 1404.5997), as torchvision has it
Backbone vgg16(PretrainedConvs& file);         // Simonyan & Zisserman 2015, configuration D
// Szegedy et al. 2016 in the form of TensorFlow's graph of 2015-12-05, which Frechet inception distances are defined by: average
// pooling leaves the padding out, and the last block's pooling takes the maximum. Its batch norms have an eps of 1e-3.
Backbone inception_v3(PretrainedConvs& file);

}  // namespace asap::asapnet
