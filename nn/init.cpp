// Weight initialisers. Declared in init.h.
#include "nn/init.h"

#include <atomic>
#include <cmath>

namespace asap::nn {

namespace {
std::atomic<uint64_t> last_seed{0};
}

RandomStream& default_random() {
  static thread_local RandomStream stream{.seed = last_seed, .offset = 0};
  return stream;
}
void manual_seed(uint64_t seed) {
  last_seed = seed;
  default_random() = {.seed = seed, .offset = 0};
}

namespace init {
namespace {

struct Fans {
  double in, out;
};

Fans fans(const Tensor& w) {
  ASAP_CHECK(w.rank() >= 2, "init: fans need a weight of at least two dimensions, got ", w.shape());
  const auto area = static_cast<double>(Shape(w.shape().begin() + 2, w.shape().end()).numel());
  return {static_cast<double>(w.size(1)) * area, static_cast<double>(w.size(0)) * area};
}

}  // namespace

void uniform(Tensor& w, double low, double high, RandomStream& random) {
  const auto count = static_cast<uint64_t>(w.numel());
  fill_uniform(w, {.seed = random.seed, .offset = random.take(count), .a = low, .b = high});
}

void normal(Tensor& w, double mean, double deviation, RandomStream& random) {
  const auto count = static_cast<uint64_t>(w.numel());
  fill_normal(w, {.seed = random.seed, .offset = random.take(count), .a = mean, .b = deviation});
}

void xavier_normal(Tensor& w, double gain, RandomStream& random) {
  const Fans fan = fans(w);
  normal(w, 0, gain * std::sqrt(2 / (fan.in + fan.out)), random);
}

void kaiming_normal(Tensor& w, double slope, RandomStream& random) {
  normal(w, 0, std::sqrt(2 / ((1 + slope * slope) * fans(w).in)), random);
}

void fan_in_uniform(Tensor& w, int64_t fan_in, RandomStream& random) {
  const double bound = fan_in > 0 ? 1 / std::sqrt(static_cast<double>(fan_in)) : 0;
  uniform(w, -bound, bound, random);
}

Tensor new_weight(const Shape& shape, const std::function<void(Tensor&)>& fill) {
  if (blank) return Tensor::zeros({}).expand(shape);
  Tensor w = Tensor::empty(shape);
  fill(w);
  return w;
}
Tensor default_weight(const Shape& shape, int64_t fan_in) {
  return new_weight(shape, [fan_in](Tensor& w) { fan_in_uniform(w, fan_in); });
}

}  // namespace init
}  // namespace asap::nn
