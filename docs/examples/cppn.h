// A network that is a picture: from a place (x, y) to its colour (compositional pattern producing network, Stanley 2007), with
// or without Fourier features (Tancik et al.: Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional
// Domains, NeurIPS 2020, arXiv 2006.10739). Next: cppn.cpp fits both to one picture.
#pragma once

#include <numbers>

#include "nn/init.h"
#include "nn/layers.h"

namespace asap::examples {

// places [P,2] in 0..1 -> colours [P,3] in 0..1.
class Cppn : public nn::Layer {
 public:
  // `features` frequencies from a normal distribution of that deviation (in periods a picture) are drawn and kept (paper,
  // section 4: "Gaussian"); with 0 of them the layers see x and y themselves.
  Cppn(int64_t features, double deviation, int64_t width, int64_t hidden_layers)
      : layers_(register_module<nn::Sequential>("layers")) {
    if (features > 0) {
      Tensor frequencies = Tensor::empty({2, features});
      nn::init::normal(frequencies, 0, deviation);
      frequencies_ = register_buffer("frequencies", frequencies);
    }
    int64_t in = features > 0 ? 2 * features : 2;
    for (int64_t i = 0; i < hidden_layers; ++i, in = width) {
      layers_.add<nn::Linear>(in, width);
      layers_.add<nn::ReLU>();
    }
    layers_.add<nn::Linear>(in, 3);
    layers_.add<nn::Sigmoid>();
  }

  Variable forward(const Variable& places) override {
    if (!frequencies_.defined()) return layers_(places);
    const Variable angles = matmul(2 * std::numbers::pi * places, frequencies_);
    return layers_(cat({cos(angles), sin(angles)}, 1));  // equation 4
  }

 private:
  Variable frequencies_;  // [2,features]
  nn::Sequential& layers_;
};

}  // namespace asap::examples
