// Spectral normalisation (Miyato et al. 2018): a convolution whose weight is divided by an estimate of its largest
// singular value, found by one power iteration per training forward. docs/asapnet.md, Spectral norm.
#pragma once

#include "nn/layers.h"

namespace asap::nn {

struct SpectralNormParams {
  bool power_iteration = true;
  double eps = 1e-12;
};
// w / sigma, sigma = u^T W v, W [M,K] being w [M,...] as a matrix; for the gradient u [M] and v [K] are constants. First, in place,
// one step of power iteration if asked for: v = W^T u / max(|W^T u|, eps), u = W v / max(|W v|, eps).
Variable spectral_norm(const Variable& w, const SpectralNormParams& params, Tensor& u, Tensor& v);

// Conv2d with weight = weight_orig / sigma, weight_orig seen as a matrix W [out, in/groups*kh*kw]. Evaluation uses the
// stored u, v. State, as PyTorch names it: bias [out], weight_orig, weight_u [out], weight_v [in/groups*kh*kw].
class SpectralConv2d : public Layer {
 public:
  explicit SpectralConv2d(const Conv2dOptions& options);
  // In training, one step of power iteration renews u and v first.
  Variable forward(const Variable& x) override;
  Variable weight_orig, bias;

 private:
  Conv2dOptions options_;
  Variable weight_u_, weight_v_;
};

}  // namespace asap::nn
