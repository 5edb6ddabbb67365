// Optimiser steps, in place: Adam (Kingma & Ba 2015, algorithm 1) and SGD with momentum, weight decay added to the gradient.
// Contract: kernels.h.
#pragma once

#include <cmath>
#include <limits>

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

inline AdamState* adam_state_of(const Tensor& state) { return static_cast<AdamState*>(state.raw()); }

struct AdamBegin {
  View losses;
  AdamParams p;
  AdamState* state;

  ASAP_HOST_DEVICE void operator()(int64_t) const {
    bool finite = true;
    for (int64_t i = 0; losses.defined() && i < losses.numel(); ++i) {
      finite = finite && std::abs(losses[i]) <= std::numeric_limits<double>::max();
    }
    state->goes = finite ? 1 : 0;
    state->step += state->goes;
    state->rate = state->lr / (1 - std::pow(p.beta1, state->step));
    state->scale = 1 / std::sqrt(1 - std::pow(p.beta2, state->step));
  }
};

struct Adam {
  View grad;
  AdamParams p;
  const AdamState* state;
  View param, m, v;

  ASAP_HOST_DEVICE void operator()(int64_t i) const {
    if (state->goes == 0) return;
    const double g = grad[i] + p.weight_decay * param[i];
    if (m.defined()) m.set(i, p.beta1 * m[i] + (1 - p.beta1) * g);
    v.set(i, p.beta2 * v[i] + (1 - p.beta2) * g * g);
    const double mean = m.defined() ? m[i] : g;
    param.set(i, param[i] - state->rate * mean / (std::sqrt(v[i]) * state->scale + p.eps));
  }
};

// PyTorch's form: velocity = momentum * velocity + g.
struct Sgd {
  View grad;
  SgdParams p;
  View param, velocity;

  ASAP_HOST_DEVICE void operator()(int64_t i) const {
    double step = grad[i] + p.weight_decay * param[i];
    if (velocity.defined()) {
      velocity.set(i, p.momentum * velocity[i] + step);
      step = p.nesterov ? step + p.momentum * velocity[i] : velocity[i];
    }
    param.set(i, param[i] - p.lr * step);
  }
};

template <class Run>
void add_optim(Device device) {
  kernels::adam_begin.add_definition(device, [](const Tensor& losses, const AdamParams& p, Tensor& state) {
    Run::lines(1, AdamBegin{losses, p, adam_state_of(state)});
  });
  kernels::adam.add_definition(device, [](std::span<const Tensor> grads, const AdamParams& p, const Tensor& state,
                                          std::span<Tensor> params, std::span<Tensor> m, std::span<Tensor> v) {
    for (size_t i = 0; i < grads.size(); ++i) {
      const View mean = p.beta1 == 0 ? View() : View(m[i]);
      Run::lines(params[i].numel(), Adam{grads[i], p, adam_state_of(state), params[i], mean, v[i]});
    }
  });
  kernels::sgd.add_definition(device, [](const Tensor& grad, const SgdParams& p, Tensor& param, Tensor& velocity) {
    Run::lines(param.numel(), Sgd{grad, p, param, p.momentum == 0 ? View() : View(velocity)});
  });
}

}  // namespace asap::definitions
