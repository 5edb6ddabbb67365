// The average of a model's parameters. Declared in ema.h.
#include "nn/ema.h"

#include <algorithm>

#include "nn/file_io.h"

namespace asap::nn {

namespace {

constexpr int64_t kPiece = 1 << 20;  // elements, so that a difference is still in the cache when it is added

// average += rate * (now - average)
void follow(const Tensor& now, const Tensor& rate, Tensor& average) {
  if (!now.is_contiguous() || !average.is_contiguous()) return add_into(mul(sub(now, average), rate), average);
  const Tensor from = now.reshape({-1}), all = average.reshape({-1});
  for (int64_t begin = 0; begin < from.numel(); begin += kPiece) {
    const int64_t end = std::min(begin + kPiece, from.numel());
    Tensor piece = all.slice(0, begin, end);
    add_into(mul(sub(from.slice(0, begin, end), piece), rate), piece);
  }
}

void check_decay(double decay) { ASAP_CHECK(decay >= 0 && decay < 1, "Ema: expected a decay in [0, 1), got ", decay); }

}  // namespace

Ema::Ema(const Module& model, double decay) : decay_(decay) {
  check_decay(decay);
  for (const auto& [name, variable] : model.named_state())
    averages_.push_back({name, variable, variable.value().clone()});
  const Device device = averages_.empty() ? Device::cpu : averages_[0].value.device();
  rate_ = Tensor::full({1}, 1 - decay, DType::f64, device);
}

void Ema::set_decay(double decay) {
  check_decay(decay);
  if (decay == decay_) return;
  decay_ = decay;
  rate_.fill(1 - decay);
}

void Ema::update(const Tensor& went) {
  const Tensor exact = went.defined() ? mul(rate_, went.to(rate_.device())) : rate_;
  Tensor rate;
  for (Average& average : averages_) {
    const Tensor& now = average.of.value();
    average.value = average.value.to(now.device());
    if (!average.of.requires_grad()) {
      average.value.copy_from(now);
      continue;
    }
    if (!rate.defined() || rate.dtype() != now.dtype() || rate.device() != now.device())
      rate = exact.to(now.device()).to(now.dtype());
    follow(now, rate, average.value);
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

void UseAverage::swap() {
  for (Ema::Average& average : ema_.averages_) {
    const Tensor value = average.of.value();
    average.of.set_value(average.value);
    average.value = value;
  }
}

}  // namespace asap::nn
