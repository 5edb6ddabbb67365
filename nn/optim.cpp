// Adam, SGD and schedules. Declared in optim.h; the arithmetic is the adam kernel's and sgd_step's.
#include "nn/optim.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <unordered_set>

#include "nn/file_io.h"

namespace asap::nn {

Optimizer::Optimizer(NamedVariables parameters, double lr, std::vector<Moments> moments)
    : parameters_(std::move(parameters)), lr_(lr), moments_(std::move(moments)) {
  for (Moments& kind : moments_) kind.values.resize(parameters_.size());
}

Tensor& Optimizer::moment(Moments& moments, size_t i) {
  Tensor& moment = moments.values[i];
  const Tensor& value = parameters_[i].second.value();
  if (moments.used && !moment.defined()) moment = Tensor::zeros(value.shape(), value.dtype(), value.device());
  return moment;
}

void Optimizer::zero_grad() {
  for (auto& [name, parameter] : parameters_) parameter.zero_grad();
}

StateDict Optimizer::state_dict() const {
  StateDict state;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    for (const Moments& moments : moments_) {
      if (moments.values[i].defined()) state.set(parameters_[i].first + moments.suffix, moments.values[i]);
    }
  }
  return state;
}

// Every key must belong to a parameter, so that state of another model is refused.
void Optimizer::load_state_dict(const StateDict& state, const std::string& source) {
  std::unordered_set<std::string> known{"step"};
  for (const auto& [name, parameter] : parameters_) {
    for (const Moments& moments : moments_) known.insert(name + moments.suffix);
  }
  std::string unexpected;
  for (const auto& [key, tensor] : state) {
    if (!known.contains(key)) unexpected += " " + printable(key);
  }
  ASAP_CHECK(unexpected.empty(), source, ": unexpected keys:", unexpected);
  for (Moments& moments : moments_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const auto& [name, parameter] = parameters_[i];
      const Tensor* found = state.find(name + moments.suffix);
      moments.values[i] = Tensor();
      if (!found || !moments.used) continue;
      ASAP_CHECK(found->shape() == parameter.shape(), source, ": ", name, moments.suffix, " is ", found->shape(),
                 ", the parameter is ", parameter.shape());
      moments.values[i] = Tensor::like(parameter.value());
      moments.values[i].copy_from(*found);
    }
  }
}

Adam::Adam(NamedVariables parameters, const AdamOptions& options)
    : Optimizer(std::move(parameters), options.lr,
                {{.suffix = ".exp_avg", .used = options.beta1 != 0}, {.suffix = ".exp_avg_sq"}}),
      params_{.beta1 = options.beta1, .beta2 = options.beta2, .eps = options.eps, .weight_decay = options.weight_decay},
      state_(adam_state(options.lr)) {}

void Adam::set_lr(double lr) {
  if (lr == lr_) return;
  lr_ = lr;
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
    Group& group = groups[parameter.dtype()];
    group.grads.push_back(parameter.grad());
    group.values.push_back(parameter.value());
    group.m.push_back(moment(moments_[0], i));
    group.v.push_back(moment(moments_[1], i));
  }
  if (!groups.empty()) state_ = state_.to(groups.begin()->second.values[0].device());
  adam_begin(losses, params_, state_);
  for (auto& [dtype, group] : groups) adam_step(group.grads, params_, state_, group.values, group.m, group.v);
}

StateDict Adam::state_dict() const {
  StateDict state;
  state.set("step", Tensor::from<int32_t>({static_cast<int32_t>(state_.select(0, 1).item())}, {}));
  for (const auto& [key, moment] : Optimizer::state_dict()) state.set(key, moment);
  return state;
}

void Adam::load_state_dict(const StateDict& state, const std::string& source) {
  Optimizer::load_state_dict(state, source);
  const Tensor* step = state.find("step");
  ASAP_CHECK(step, source, ": the key 'step' is missing");
  state_ = adam_state(lr_, static_cast<int64_t>(step->item()));
}

Sgd::Sgd(NamedVariables parameters, const SgdOptions& options)
    : Optimizer(std::move(parameters), options.lr, {{.suffix = ".momentum_buffer", .used = options.momentum != 0}}),
      options_(options) {}

void Sgd::step() {
  options_.lr = lr_;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Variable& parameter = parameters_[i].second;
    if (!parameter.grad().defined()) continue;
    Tensor value = parameter.value();
    sgd_step(parameter.grad(), options_, value, moment(moments_[0], i));
  }
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

double cosine(double lr0, int64_t epoch, int64_t epochs, double lr_end) {
  const double t = std::min(1.0, static_cast<double>(epoch - 1) / static_cast<double>(epochs));
  return lr_end + (lr0 - lr_end) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

}  // namespace schedule
}  // namespace asap::nn
