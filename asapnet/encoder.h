// The variational encoder (docs/asapnet.md, Variational encoder; off by default): a picture to the mean and log variance of z.
// Next: losses.h.
#pragma once

#include "asapnet/config.h"
#include "nn/spectral_norm.h"

namespace asap::asapnet {

struct EncoderResult {
  Variable mu, logvar;  // [N,z_dim]
};

// State: layer1..layer5 (layer6 when crop_size >= 256): .0.{weight_orig,weight_u,weight_v}; fc_mu, fc_var: .{weight,bias}.
class Encoder : public nn::Module {
 public:
  explicit Encoder(const Config& config);
  // image [N,output_nc,H,W] in [-1,1], resized to 256x256 first.
  EncoderResult forward(const Variable& image);

 private:
  std::vector<nn::Sequential*> layers_;  // each: conv 3x3 stride 2 -> instance norm -> LeakyReLU
  nn::Linear* to_mu_;
  nn::Linear* to_logvar_;
};

// z = mu + exp(logvar / 2) * normal, `normal` [N,z_dim] drawn by the caller.
Variable reparameterize(const EncoderResult& encoded, const Tensor& normal);
// -0.5 * sum(1 + logvar - mu^2 - exp(logvar)), one element (Kingma & Welling 2014, appendix B).
Variable kl_divergence(const EncoderResult& encoded);

}  // namespace asap::asapnet
