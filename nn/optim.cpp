// Adam, SGD and schedules. Declared in optim.h; the arithmetic is the adam kernel's and sgd_step's.
#include "nn/optim.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <unordered_set>

#include "nn/file_io.h"

namespace asap::nn {

Optimizer::Optimizer(ParameterGroups groups, double lr, double weight_decay, std::vector<Moments> moments)
    : lr_(lr), moments_(std::move(moments)) {
  std::unordered_set<const VariableImpl*> seen;
  std::unordered_set<std::string> names;
  for (ParameterGroup& group : groups) {
    const size_t begin = parameters_.size();
    for (auto& [name, parameter] : group.parameters) {
      ASAP_CHECK(parameter.defined(), "optimizer: the parameter '", name, "' is undefined");
      ASAP_CHECK(seen.insert(parameter.impl().get()).second && names.insert(name).second,
                 "optimizer: expected every parameter and name once, got '", name, "' twice");
      parameters_.emplace_back(std::move(name), std::move(parameter));
    }
    groups_.push_back({begin, parameters_.size(), group.lr_scale, group.weight_decay.value_or(weight_decay)});
  }
  ASAP_CHECK(!parameters_.empty(), "optimizer: expected parameters, got none");
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

Adam::Adam(ParameterGroups groups, const AdamOptions& options, bool decoupled)
    : Optimizer(std::move(groups), options.lr, options.weight_decay,
                {{.suffix = ".exp_avg", .used = options.beta1 != 0}, {.suffix = ".exp_avg_sq"}}),
      params_{.beta1 = options.beta1, .beta2 = options.beta2, .eps = options.eps, .decoupled = decoupled} {
  for (const Group& group : groups_) states_.push_back(adam_state(lr_ * group.lr_scale));
}

void Adam::set_lr(double lr) {
  if (lr == lr_) return;
  lr_ = lr;
  for (size_t i = 0; i < groups_.size(); ++i) states_[i].slice(0, 0, 1).fill(lr * groups_[i].lr_scale);
}

AdamParams Adam::params_of(const Group& group) const {
  AdamParams params = params_;
  params.weight_decay = group.weight_decay;
  return params;
}

// One kernel call for all of a group's parameters of one type: on a device a call a parameter would cost more than its work.
void Adam::step_if_finite(const Tensor& losses) {
  struct Lists {
    std::vector<Tensor> grads, values, m, v;
  };
  for (size_t g = 0; g < groups_.size(); ++g) {
    const AdamParams params = params_of(groups_[g]);
    std::map<DType, Lists> by_type;
    for (size_t i = groups_[g].begin; i < groups_[g].end; ++i) {
      const Variable& parameter = parameters_[i].second;
      if (!parameter.grad().defined()) continue;
      Lists& lists = by_type[parameter.dtype()];
      lists.grads.push_back(parameter.grad());
      lists.values.push_back(parameter.value());
      lists.m.push_back(moment(moments_[0], i));
      lists.v.push_back(moment(moments_[1], i));
    }
    const Tensor& beside = by_type.empty() ? losses : by_type.begin()->second.values[0];
    if (beside.defined()) states_[g] = states_[g].to(beside.device());
    adam_begin(losses, params, states_[g]);
    for (auto& [dtype, lists] : by_type) adam_step(lists.grads, params, states_[g], lists.values, lists.m, lists.v);
  }
}

Tensor Adam::went() const {
  constexpr auto place = static_cast<int64_t>(offsetof(AdamState, goes) / sizeof(double));
  return states_[0].slice(0, place, place + 1);
}

// All groups have counted the same steps.
StateDict Adam::state_dict() const {
  StateDict state;
  state.set("step", Tensor::from<int32_t>({static_cast<int32_t>(states_[0].select(0, 1).item())}, {}));
  for (const auto& [key, moment] : Optimizer::state_dict()) state.set(key, moment);
  return state;
}

void Adam::load_state_dict(const StateDict& state, const std::string& source) {
  Optimizer::load_state_dict(state, source);
  const Tensor* step = state.find("step");
  ASAP_CHECK(step, source, ": the key 'step' is missing");
  for (size_t i = 0; i < groups_.size(); ++i) {
    states_[i] = adam_state(lr_ * groups_[i].lr_scale, static_cast<int64_t>(step->item()));
  }
}

Sgd::Sgd(ParameterGroups groups, const SgdOptions& options)
    : Optimizer(std::move(groups), options.lr, options.weight_decay,
                {{.suffix = ".momentum_buffer", .used = options.momentum != 0}}),
      options_(options) {}

void Sgd::step() {
  for (const Group& group : groups_) {
    options_.lr = lr_ * group.lr_scale;
    options_.weight_decay = group.weight_decay;
    for (size_t i = group.begin; i < group.end; ++i) {
      const Variable& parameter = parameters_[i].second;
      if (!parameter.grad().defined()) continue;
      Tensor value = parameter.value();
      sgd_step(parameter.grad(), options_, value, moment(moments_[0], i));
    }
  }
}

// On the device: the factor never comes to the host.
Tensor clip_grad_norm(const std::vector<Variable>& parameters, double max_norm) {
  ASAP_CHECK(max_norm >= 0, "clip_grad_norm: expected a norm >= 0, got ", max_norm);
  Tensor squares;
  for (const Variable& parameter : parameters) {
    const Tensor& grad = parameter.grad();
    if (!grad.defined()) continue;
    const Tensor square = sum(unary(UnaryOp::square, grad));
    squares = squares.defined() ? add(squares, square) : square;
  }
  if (!squares.defined()) return Tensor::zeros({});
  const Tensor norm = unary(UnaryOp::sqrt, squares);
  // At most 1; the 1e-6 is PyTorch's, for a norm of 0.
  const Tensor ratio = div(Tensor::full({}, max_norm, norm.dtype(), norm.device()), affine(norm, 1, 1e-6));
  const Tensor factor = binary(BinaryOp::minimum, ratio, Tensor::ones({}, norm.dtype(), norm.device()));
  for (Variable parameter : parameters) {
    if (parameter.grad().defined()) parameter.set_grad(mul(parameter.grad(), factor));
  }
  return norm;
}

void clip_grad_value(const std::vector<Variable>& parameters, double limit) {
  ASAP_CHECK(limit >= 0, "clip_grad_value: expected a limit >= 0, got ", limit);
  for (Variable parameter : parameters) {
    if (parameter.grad().defined())
      parameter.set_grad(unary(UnaryOp::clamp, parameter.grad(), {.a = -limit, .b = limit}));
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

double warmup(double lr, int64_t epoch, int64_t warmup) {
  return epoch < warmup ? lr * static_cast<double>(epoch) / static_cast<double>(warmup) : lr;
}

double warmup_cosine(double lr0, int64_t epoch, int64_t warmup, int64_t epochs, double lr_end) {
  if (epoch <= warmup) return schedule::warmup(lr0, epoch, warmup);
  return cosine(lr0, epoch - warmup, epochs - warmup, lr_end);
}

double average_decay(double decay, int64_t update) {
  return std::min(decay, static_cast<double>(1 + update) / static_cast<double>(10 + update));
}

}  // namespace schedule
}  // namespace asap::nn
