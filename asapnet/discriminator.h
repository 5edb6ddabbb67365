// Multiscale PatchGAN discriminator (docs/asapnet.md, Discriminator; pix2pixHD section 3.2): num_D equal nets, each on the input
// halved once more. Next: losses.h.
#pragma once

#include "asapnet/config.h"
#include "nn/spectral_norm.h"

namespace asap::asapnet {

// One scale: n_layers_D + 1 outputs, features after LeakyReLU 0.2, then the logits.
using ScaleOutputs = std::vector<Variable>;

class PatchDiscriminator : public nn::Module {
 public:
  PatchDiscriminator(const Config& config, int64_t input_channels);
  ScaleOutputs forward(const Variable& x);

 private:
  std::vector<nn::Sequential*> layers_;
};

class Discriminator : public nn::Module {
 public:
  explicit Discriminator(const Config& config);
  // x [N, input channels + output_nc, H, W]: the generator's input and a picture, on channels.
  std::vector<ScaleOutputs> forward(const Variable& x);

 private:
  std::vector<PatchDiscriminator*> scales_;
};

}  // namespace asap::asapnet
