// The losses. Declared in losses.h.
#include "asapnet/losses.h"

namespace asap::asapnet {
namespace {

// Mean over the scales of loss(logits).
template <class F>
Variable mean_over_scales(const std::vector<ScaleOutputs>& outputs, F&& loss) {
  Variable total;
  for (const ScaleOutputs& scale : outputs) {
    const Variable value = loss(scale.back());
    total = total.defined() ? total + value : value;
  }
  return outputs.size() == 1 ? total : total / static_cast<double>(outputs.size());
}

Tensor constant_like(const Variable& x, double value) {
  return Tensor::full(x.shape(), value, x.dtype(), x.device());
}

}  // namespace

Variable discriminator_gan_loss(GanMode mode, const std::vector<ScaleOutputs>& outputs, GanTarget target) {
  const bool real = target == GanTarget::real;
  return mean_over_scales(outputs, [&](const Variable& logits) {
    switch (mode) {
      case GanMode::hinge: return mean(relu(real ? 1.0 - logits : 1.0 + logits));
      case GanMode::ls: return mean(square(real ? logits - 1.0 : logits));
      case GanMode::original: return bce_with_logits(logits, constant_like(logits, real ? 1 : 0));
      case GanMode::w: return real ? -mean(logits) : mean(logits);
    }
    fail("discriminator_gan_loss: unknown mode");
  });
}

Variable generator_gan_loss(GanMode mode, const std::vector<ScaleOutputs>& fake) {
  if (mode != GanMode::hinge) return discriminator_gan_loss(mode, fake, GanTarget::real);
  return mean_over_scales(fake, [](const Variable& logits) { return -mean(logits); });
}

Variable feature_matching_loss(const std::vector<ScaleOutputs>& fake, const std::vector<ScaleOutputs>& real) {
  ASAP_CHECK(fake.size() == real.size() && !fake.empty(), "feature_matching_loss: expected equally many scales, got ",
             fake.size(), " and ", real.size());
  Variable total;
  for (size_t scale = 0; scale < fake.size(); ++scale) {
    for (size_t layer = 0; layer + 1 < fake[scale].size(); ++layer) {
      const Variable difference = l1_loss(fake[scale][layer], real[scale][layer].detach());
      total = total.defined() ? total + difference : difference;
    }
  }
  return total / static_cast<double>(fake.size());
}

Variable perceptual_loss(const Vgg19& vgg, const Variable& fake, const Tensor& real) {
  constexpr double weights[] = {1.0 / 32, 1.0 / 16, 1.0 / 8, 1.0 / 4, 1.0};
  std::array<Variable, Vgg19::kFeatures> wanted;
  {
    const NoGrad no_grad;
    wanted = vgg.forward(real);
  }
  const auto features = vgg.forward(fake);
  Variable total;
  for (size_t i = 0; i < features.size(); ++i) {
    const Variable difference = l1_loss(features[i], wanted[i]) * weights[i];
    total = total.defined() ? total + difference : difference;
  }
  return total;
}

}  // namespace asap::asapnet
