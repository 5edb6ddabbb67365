// The average of a model's parameters. Declared in ema.h.
#include "nn/ema.h"

#include "nn/file_io.h"

namespace asap::nn {

Ema::Ema(const Module& model, double decay) : decay_(decay) {
  ASAP_CHECK(decay >= 0 && decay < 1, "Ema: expected a decay in [0, 1), got ", decay);
  for (const auto& [name, variable] : model.named_state())
    averages_.push_back({name, variable, variable.value().clone()});
}

void Ema::update() {
  for (Average& average : averages_) {
    const Tensor& now = average.of.value();
    average.value = average.value.to(now.device());
    if (average.of.requires_grad()) {
      add_into(affine(sub(now, average.value), 1 - decay_, 0), average.value);
    } else {
      average.value.copy_from(now);
    }
  }
}

StateDict Ema::state_dict() const {
  StateDict state;
  for (const Average& average : averages_) state.set(average.name, average.value);
  return state;
}

void Ema::load_state_dict(const StateDict& state, const std::string& source) {
  std::string problems;
  for (const Average& average : averages_) {
    const Tensor* found = state.find(average.name);
    if (!found || found->shape() != average.value.shape()) problems += " " + average.name;
  }
  const StateDict own = state_dict();
  for (const auto& [name, tensor] : state) {
    if (!own.contains(name)) problems += " " + printable(name);
  }
  ASAP_CHECK(problems.empty(), source, ": missing, unexpected or of another shape:", problems);
  for (Average& average : averages_) average.value.copy_from(*state.find(average.name));
}

}  // namespace asap::nn
