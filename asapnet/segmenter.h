// Segmenter: a small U-Net (Ronneberger, Fischer, Brox 2015) that tells every pixel's class from the photo: the way back from
// picture to label map, by which a generator is judged. Depth and channel widths come from the file.
#pragma once

#include <string>
#include <vector>

#include "nn/layers.h"

namespace asap::asapnet {

// State: down.I.{0,2}.weight (3x3 convolutions, the first of stride 2) and down.I.{1,3}.{weight,bias} (instance norms) of level I, which
// has sides of 1 / 2^(I+1) of the picture's; up.I.0.weight and up.I.1.{weight,bias}, from level I + 1 with level I beside it; head.
class Segmenter : public nn::Layer {
 public:
  // widths: channels of each level, at least one.
  Segmenter(const std::vector<int64_t>& widths, int64_t classes);
  // Both as a file's weights say. asap::Error naming `source`: not a segmenter's, or NaN or infinity among them.
  static std::unique_ptr<Segmenter> from_weights(const nn::StateDict& weights, const std::string& source);

  // x [N,3,H,W] in [-1,1], of any size -> logits [N,classes,H,W].
  Variable forward(const Variable& x) override;
  // The likeliest classes i32 [N,H,W], without gradient.
  Tensor classify(const Tensor& x);

  int64_t classes() const { return classes_; }

 private:
  int64_t classes_;
  nn::ModuleList<nn::Sequential>&down_, &up_;
  nn::Conv2d& head_;
};

}  // namespace asap::asapnet
