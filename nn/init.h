// Initial weights. Each fills a tensor in place from a RandomStream: the same seed gives the same weights anywhere.
// fan_in = w[1] * kernel area, fan_out = w[0] * kernel area, for w [out,in,...].
#pragma once

#include <functional>

#include "tensor/ops.h"
#include "tensor/random.h"
#include "tensor/scoped.h"

namespace asap::nn {

// The stream that layers draw their default weights from; manual_seed restarts it. Every thread has its own, which begins with
// the seed that manual_seed was given last, on any thread: models that are built side by side get the weights of their seeds.
RandomStream& default_random();
void manual_seed(uint64_t seed);

// While it lives, layers that this thread makes draw from a stream of their own instead: the default one goes on behind it
// as if nothing had been drawn.
struct SeededRandom : Scoped<RandomStream> {
  explicit SeededRandom(uint64_t seed) : Scoped(default_random(), {.seed = seed, .offset = 0}) {}
};

namespace init {

void uniform(Tensor& w, double low, double high, RandomStream& random = default_random());
void normal(Tensor& w, double mean, double deviation, RandomStream& random = default_random());
// Glorot & Bengio 2010: deviation gain * sqrt(2 / (fan_in + fan_out)).
void xavier_normal(Tensor& w, double gain = 1, RandomStream& random = default_random());
// He et al. 2015: deviation sqrt(2 / ((1 + slope^2) * fan_in)) for a LeakyReLU of that slope.
void kaiming_normal(Tensor& w, double slope = 0, RandomStream& random = default_random());
// PyTorch's default for conv and linear layers, weights and biases: uniform +-1/sqrt(fan_in).
void fan_in_uniform(Tensor& w, int64_t fan_in, RandomStream& random = default_random());

// While one lives, layers that are made on this thread draw nothing and hold zeros that take no memory: for a module that is
// given another's weights at once.
inline constinit thread_local bool blank = false;
struct Blank : Scoped<bool> {
  Blank() : Scoped(blank, true) {}
};
// A layer's weight or bias: new and filled, unless a Blank lives; fan_in_uniform.
Tensor new_weight(const Shape& shape, const std::function<void(Tensor&)>& fill);
Tensor default_weight(const Shape& shape, int64_t fan_in);

}  // namespace init
}  // namespace asap::nn
