// softmax and log_softmax over the middle of [outer, n, inner], forward and backward. The largest value is subtracted first,
// so no exponential overflows. Contract: kernels.h. Next: gather.h.
#pragma once

#include <cmath>

#include "tensor/definitions/reduce.h"

namespace asap::definitions {

// One line of y = exp(x) / sum(exp(x)), or of its logarithm.
struct Softmax {
  View x, y;
  AxisParams p;
  bool log;

  ASAP_HOST_DEVICE void operator()(int64_t line) const {
    const Line on(line, p);
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < p.n; ++j) largest = x[on.at(j)] > largest ? x[on.at(j)] : largest;
    for (int64_t j = 0; j < p.n; ++j) sum += std::exp(x[on.at(j)] - largest);
    for (int64_t j = 0; j < p.n; ++j) {
      const double log_y = x[on.at(j)] - largest - std::log(sum);
      y.set(on.at(j), log ? log_y : std::exp(log_y));
    }
  }
};

// One line of dx = y * (dy - sum(y * dy)), or of the logarithm's: dx = dy - exp(y) * sum(dy).
struct SoftmaxBackward {
  View y, dy, dx;
  AxisParams p;
  bool log;

  ASAP_HOST_DEVICE void operator()(int64_t line) const {
    const Line on(line, p);
    double sum = 0;
    for (int64_t j = 0; j < p.n; ++j) sum += log ? dy[on.at(j)] : y[on.at(j)] * dy[on.at(j)];
    for (int64_t j = 0; j < p.n; ++j) {
      const double v = y[on.at(j)], g = dy[on.at(j)];
      dx.set(on.at(j), log ? g - std::exp(v) * sum : v * (g - sum));
    }
  }
};

template <class Run>
void add_softmax(Device device) {
  const auto add = [device](KernelSlot<SoftmaxFn>& forward, KernelSlot<SoftmaxBackwardFn>& backward, bool log) {
    forward.add_definition(device, [log](const Tensor& x, const AxisParams& p, Tensor& y) {
      Run::lines(p.outer * p.inner, Softmax{x, y, p, log});
    });
    backward.add_definition(device, [log](const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
      Run::lines(p.outer * p.inner, SoftmaxBackward{y, dy, dx, p, log});
    });
  };
  add(kernels::softmax_forward, kernels::softmax_backward, false);
  add(kernels::log_softmax_forward, kernels::log_softmax_backward, true);
}

}  // namespace asap::definitions
