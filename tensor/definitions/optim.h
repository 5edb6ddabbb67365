// Adam's step, in place (Kingma & Ba 2015, algorithm 1), weight decay added to the gradient or decoupled from it
// (Loshchilov & Hutter 2019, algorithm 2). Contract: kernels.h.
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

// One element's step in T, which the fast variants make their loops of: inlined, it becomes their instructions
// (cpu/targets.h). m is 0 where beta1 = 0 and none is kept.
template <class T>
struct AdamElement {
  T beta1, one_less_beta1, beta2, one_less_beta2, eps, decay, decoupled_decay, rate, scale;

  ASAP_HOST_DEVICE AdamElement(const AdamParams& p, const AdamState& s)
      : beta1(T(p.beta1)), one_less_beta1(T(1 - p.beta1)), beta2(T(p.beta2)), one_less_beta2(T(1 - p.beta2)),
        eps(T(p.eps)), decay(T(p.decoupled ? 0 : p.weight_decay)),
        decoupled_decay(T(p.decoupled ? s.lr * p.weight_decay : 0)), rate(T(s.rate)), scale(T(s.scale)) {}
  [[gnu::always_inline]] ASAP_HOST_DEVICE inline void operator()(T grad, T& param, T& m, T& v) const {
    const T g = grad + decay * param;
    m = beta1 * m + one_less_beta1 * g;
    v = beta2 * v + one_less_beta2 * g * g;
    param -= decoupled_decay * param;
    param -= rate * (m / (std::sqrt(v) * scale + eps));
  }
};

struct Adam {
  View grad;
  AdamParams p;
  const AdamState* state;
  View param, m, v;

  ASAP_HOST_DEVICE void operator()(int64_t i) const {
    if (state->goes == 0) return;
    double value = param[i], mean = m.defined() ? m[i] : 0, square = v[i];
    AdamElement<double>(p, *state)(grad[i], value, mean, square);
    param.set(i, value);
    if (m.defined()) m.set(i, mean);
    v.set(i, square);
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
}

}  // namespace asap::definitions
