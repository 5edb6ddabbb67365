// Optimisers, clipping of gradients, learning-rate schedules. An optimiser steps named parameters by their gradients, in
// place, and its state (moments, step count) goes into a StateDict, so that a resumed run continues to the bit.
// Next: ema.h, training_state.h.
#pragma once

#include <optional>

#include "nn/module.h"

namespace asap::nn {

// Parameters that are stepped alike.
struct ParameterGroup {
  NamedVariables parameters;
  double lr_scale = 1;                      // the group's learning rate is this times the optimiser's
  std::optional<double> weight_decay = {};  // instead of the optimiser's
};
using ParameterGroups = std::vector<ParameterGroup>;

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Parameters without a gradient are left alone.
  virtual void step() = 0;
  // "NAME.STATE" per parameter that has stepped, and Adam's "step" (i32). Shares memory with the optimiser.
  virtual StateDict state_dict() const;
  // Throws naming the keys that do not fit the parameters.
  virtual void load_state_dict(const StateDict& state, const std::string& source = "optimizer state");
  void zero_grad();
  // The learning rate of all groups, before their lr_scale.
  virtual void set_lr(double lr) { lr_ = lr; }
  double lr() const { return lr_; }

 protected:
  // A tensor for each parameter, undefined until its first gradient. Unused ones stay so: their keys are read and dropped.
  struct Moments {
    std::string suffix;  // of their keys
    bool used = true;
    std::vector<Tensor> values = {};
  };
  // A group's parameters, begin..end-1 of parameters_.
  struct Group {
    size_t begin, end;
    double lr_scale, weight_decay;
  };
  // Throws if there are no parameters, or one is in the groups twice.
  Optimizer(ParameterGroups groups, double lr, double weight_decay, std::vector<Moments> moments);
  // That of parameter i, zeros if it is its first; undefined if unused.
  Tensor& moment(Moments& moments, size_t i);

  NamedVariables parameters_;
  std::vector<Group> groups_;
  double lr_;
  std::vector<Moments> moments_;
};

// Options: what an optimiser is made with. Params (tensor/kernels.h): what its kernel is told at each step.
struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
// Kingma & Ba 2015; weight_decay * parameter is added to the gradient. State: NAME.exp_avg (not with beta1 = 0, where it
// would be the last gradient; read and dropped if a file has it), NAME.exp_avg_sq. Parameters that step must lie on one
// device.
class Adam : public Optimizer {
 public:
  Adam(ParameterGroups groups, const AdamOptions& options) : Adam(std::move(groups), options, false) {}
  Adam(NamedVariables parameters, const AdamOptions& options)
      : Adam(ParameterGroups{{std::move(parameters)}}, options) {}
  void step() override { step_if_finite({}); }
  // A step, unless one of `losses` (f32 or f64, where the parameters lie) is not finite: then nothing changes. The host
  // neither waits nor learns which; all that differs from step to step is read on the device, so the call can be captured.
  void step_if_finite(const Tensor& losses);
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state, const std::string& source) override;
  void set_lr(double lr) override;
  // f64 [1] beside the state: 1, or 0 if the last step was one that did not go.
  Tensor went() const;
  // The first group's AdamState (tensor/kernels.h): on the CPU until the first step, then where the parameters lie; other
  // memory after load_state_dict.
  const Tensor& state() const { return states_[0]; }

 protected:
  Adam(ParameterGroups groups, const AdamOptions& options, bool decoupled);

 private:
  AdamParams params_of(const Group& group) const;

  AdamParams params_;
  std::vector<Tensor> states_;  // of the groups
};

// Adam with weight decay decoupled from the gradient (Loshchilov & Hutter 2019): before the step, every parameter loses
// lr * weight_decay times itself. State: Adam's.
class AdamW : public Adam {
 public:
  AdamW(ParameterGroups groups, const AdamOptions& options) : Adam(std::move(groups), options, true) {}
  AdamW(NamedVariables parameters, const AdamOptions& options)
      : AdamW(ParameterGroups{{std::move(parameters)}}, options) {}
};

using SgdOptions = SgdParams;
// Gradient descent with momentum (PyTorch's form: velocity = momentum * velocity + grad). State: NAME.momentum_buffer.
class Sgd : public Optimizer {
 public:
  Sgd(ParameterGroups groups, const SgdOptions& options);
  Sgd(NamedVariables parameters, const SgdOptions& options) : Sgd(ParameterGroups{{std::move(parameters)}}, options) {}
  void step() override;

 private:
  SgdOptions options_;
};

// Between backward() and step(); parameters without a gradient are left out. The host does not wait.
// Scales all gradients by one factor, so that the norm over all their elements is at most max_norm (Pascanu et al. 2013), and
// returns the norm [] that it was, as PyTorch's clip_grad_norm_ does. All gradients must be of one type and device.
Tensor clip_grad_norm(const std::vector<Variable>& parameters, double max_norm);
// Cuts every element to -limit..limit.
void clip_grad_value(const std::vector<Variable>& parameters, double limit);

// Learning rate of `epoch` (or step, counted from 1) under each schedule, from the initial rate lr0.
namespace schedule {
// lr0 through epoch niter, then lr0 / niter_decay less at the end of every later epoch.
double linear_decay(double lr0, int64_t epoch, int64_t niter, int64_t niter_decay);
double step(double lr0, int64_t epoch, int64_t step_size, double factor);     // times factor every step_size epochs
double cosine(double lr0, int64_t epoch, int64_t epochs, double lr_end = 0);  // Loshchilov & Hutter 2017, one period
// On top of another schedule's rate lr: lr / warmup, 2 * lr / warmup, .. up to lr at epoch `warmup` (Goyal et al. 2017).
double warmup(double lr, int64_t epoch, int64_t warmup);
// The same up to lr0, then cosine's to the end of `epochs`.
double warmup_cosine(double lr0, int64_t epoch, int64_t warmup, int64_t epochs, double lr_end = 0);
// Of an average's decay (ema.h), for update number `update`: min(decay, (1 + update) / (10 + update)), as TensorFlow documents
// its ExponentialMovingAverage with num_updates. So a short run's average is not its first weights.
double average_decay(double decay, int64_t update);
}  // namespace schedule

}  // namespace asap::nn
