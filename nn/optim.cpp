// Adam, SGD and schedules. Declared in optim.h; the arithmetic is in the adam and sgd kernels.
#include "nn/optim.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "nn/file_io.h"

namespace asap::nn {
namespace {

// Reads the state tensors NAME.suffix into `out`, one per parameter, undefined where absent.
void load_moments(const StateDict& state, const NamedVariables& parameters, const std::string& suffix,
                  const std::string& source, std::vector<Tensor>& out) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, parameter] = parameters[i];
    const Tensor* found = state.find(name + suffix);
    out[i] = Tensor();
    if (!found) continue;
    ASAP_CHECK(found->shape() == parameter.shape(), source, ": ", name, suffix, " is ", found->shape(),
               ", the parameter is ", parameter.shape());
    out[i] = Tensor::like(parameter.value());
    out[i].copy_from(*found);
  }
}

// Every key must belong to a parameter, so that state of another model is refused.
void check_keys(const StateDict& state, const NamedVariables& parameters, const std::vector<std::string>& suffixes,
                const std::string& source) {
  std::string unexpected;
  for (const auto& [key, tensor] : state) {
    if (key == "step") continue;
    const bool known = std::any_of(parameters.begin(), parameters.end(), [&](const auto& parameter) {
      return std::any_of(suffixes.begin(), suffixes.end(),
                         [&](const std::string& suffix) { return key == parameter.first + suffix; });
    });
    if (!known) unexpected += " " + printable(key);
  }
  ASAP_CHECK(unexpected.empty(), source, ": unexpected keys:", unexpected);
}

}  // namespace

void Optimizer::zero_grad() {
  for (auto& [name, parameter] : parameters_) parameter.zero_grad();
}

Adam::Adam(NamedVariables parameters, const AdamOptions& options)
    : Optimizer(std::move(parameters)),
      options_(options),
      params_{.beta1 = options.beta1, .beta2 = options.beta2, .eps = options.eps, .weight_decay = options.weight_decay},
      m_(parameters_.size()),
      v_(parameters_.size()),
      state_(adam_state(options.lr)) {}

void Adam::set_lr(double lr) {
  if (lr == options_.lr) return;
  options_.lr = lr;
  state_.slice(0, 0, 1).fill(lr);
}

// One kernel call for all parameters of one type: on a device a call a parameter would cost more than its work.
void Adam::step_if_finite(const Tensor& losses) {
  struct Group {
    std::vector<Tensor> grads, values, m, v;
  };
  std::map<DType, Group> groups;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& parameter = parameters_[i].second;
    if (!parameter.grad().defined()) continue;
    const Tensor& value = parameter.value();
    for (Tensor* moment : {&m_[i], &v_[i]}) {
      if (moment->defined() || (moment == &m_[i] && options_.beta1 == 0)) continue;
      *moment = Tensor::zeros(value.shape(), value.dtype(), value.device());
    }
    Group& group = groups[value.dtype()];
    group.grads.push_back(parameter.grad());
    group.values.push_back(value);
    group.m.push_back(m_[i]);
    group.v.push_back(v_[i]);
  }
  if (!groups.empty()) state_ = state_.to(groups.begin()->second.values[0].device());
  adam_begin(losses, params_, state_);
  for (auto& [dtype, group] : groups) adam_step(group.grads, params_, state_, group.values, group.m, group.v);
}

StateDict Adam::state_dict() const {
  StateDict state;
  state.set("step", Tensor::from<int32_t>({static_cast<int32_t>(state_.select(0, 1).item())}, {}));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (m_[i].defined()) state.set(parameters_[i].first + ".exp_avg", m_[i]);
    if (v_[i].defined()) state.set(parameters_[i].first + ".exp_avg_sq", v_[i]);
  }
  return state;
}

void Adam::load_state_dict(const StateDict& state, const std::string& source) {
  check_keys(state, parameters_, {".exp_avg", ".exp_avg_sq"}, source);
  const Tensor* step = state.find("step");
  ASAP_CHECK(step, source, ": the key 'step' is missing");
  state_ = adam_state(options_.lr, static_cast<int64_t>(step->item()));
  if (options_.beta1 != 0) load_moments(state, parameters_, ".exp_avg", source, m_);
  load_moments(state, parameters_, ".exp_avg_sq", source, v_);
}

Sgd::Sgd(NamedVariables parameters, const SgdOptions& options)
    : Optimizer(std::move(parameters)), options_(options), velocity_(parameters_.size()) {}

void Sgd::step() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& parameter = parameters_[i].second;
    if (!parameter.grad().defined()) continue;
    Tensor value = parameter.value();
    if (options_.momentum != 0 && !velocity_[i].defined()) {
      velocity_[i] = Tensor::zeros(value.shape(), value.dtype(), value.device());
    }
    sgd_step(parameter.grad(), options_, value, velocity_[i]);
  }
}

StateDict Sgd::state_dict() const {
  StateDict state;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (velocity_[i].defined()) state.set(parameters_[i].first + ".momentum_buffer", velocity_[i]);
  }
  return state;
}

void Sgd::load_state_dict(const StateDict& state, const std::string& source) {
  check_keys(state, parameters_, {".momentum_buffer"}, source);
  load_moments(state, parameters_, ".momentum_buffer", source, velocity_);
}

namespace schedule {

double linear_decay(double lr0, int64_t epoch, int64_t niter, int64_t niter_decay) {
  if (epoch <= niter + 1 || niter_decay <= 0) return lr0;
  const auto steps = static_cast<double>(std::min(epoch - 1 - niter, niter_decay));
  return lr0 - steps * lr0 / static_cast<double>(niter_decay);
}

double step(double lr0, int64_t epoch, int64_t step_size, double factor) {
  return lr0 * std::pow(factor, static_cast<double>((epoch - 1) / step_size));
}

double exponential(double lr0, int64_t epoch, double factor) {
  return lr0 * std::pow(factor, static_cast<double>(epoch - 1));
}

double cosine(double lr0, int64_t epoch, int64_t epochs, double lr_end) {
  const double t = std::min(1.0, static_cast<double>(epoch - 1) / static_cast<double>(epochs));
  return lr_end + (lr0 - lr_end) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

}  // namespace schedule
}  // namespace asap::nn
