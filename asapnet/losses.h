// The losses (docs/asapnet.md, Losses), each a one-element Variable. Discriminator outputs come as a list of scales, each a list of
// features with the logits last (discriminator.h). Next: model.h, which weighs and sums them.
#pragma once

#include "asapnet/config.h"
#include "asapnet/discriminator.h"
#include "asapnet/vgg.h"

namespace asap::asapnet {

enum class GanTarget { fake, real };

// What the discriminator minimises on logits it should call fake or real, averaged over the scales.
// hinge: mean relu(1 +- logit); ls: mean squared error to 0 or 1; original: cross-entropy; w: +-mean.
Variable discriminator_gan_loss(GanMode mode, const std::vector<ScaleOutputs>& outputs, GanTarget target);
// What the generator minimises on its own pictures' logits. hinge and w: -mean; ls, original: as for real.
Variable generator_gan_loss(GanMode mode, const std::vector<ScaleOutputs>& fake);
// Sum over scales and features before the logits of mean |fake - stop(real)|, over the number of scales (pix2pixHD eq. 4).
// Its weight lambda_feat is the caller's.
Variable feature_matching_loss(const std::vector<ScaleOutputs>& fake, const std::vector<ScaleOutputs>& real);
// Sum of w_i * mean |VGG_i(fake) - stop(VGG_i(real))|, w = 1/32, 1/16, 1/8, 1/4, 1. Pictures [N,3,H,W] in [-1,1].
Variable perceptual_loss(const Vgg19& vgg, const Variable& fake, const Tensor& real);

}  // namespace asap::asapnet
