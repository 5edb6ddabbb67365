// Optimisers and learning-rate schedules. An optimiser steps named parameters by their gradients, in place, and its state
// (moments, step count) goes into a StateDict, so that a resumed run continues to the bit.
#pragma once

#include "nn/module.h"

namespace asap::nn {

class Optimizer {
 public:
  explicit Optimizer(NamedVariables parameters) : parameters_(std::move(parameters)) {}
  virtual ~Optimizer() = default;
  // Parameters without a gradient are left alone.
  virtual void step() = 0;
  // "NAME.STATE" per parameter that has stepped, and "step" (i32). Shares memory with the optimiser.
  virtual StateDict state_dict() const = 0;
  // Throws naming the keys that do not fit the parameters.
  virtual void load_state_dict(const StateDict& state, const std::string& source = "optimizer state") = 0;
  void zero_grad();
  virtual void set_lr(double lr) = 0;
  virtual double lr() const = 0;

 protected:
  NamedVariables parameters_;
};

// Options: what an optimiser is made with. Params (tensor/kernels.h): what its kernel is told at each step.
struct AdamOptions {
  double lr = 1e-3, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
};
// Kingma & Ba 2015. State: NAME.exp_avg (not with beta1 = 0, where it would be the last gradient; read and dropped if a
// file has it), NAME.exp_avg_sq. Parameters that step must lie on one device.
class Adam : public Optimizer {
 public:
  Adam(NamedVariables parameters, const AdamOptions& options);
  void step() override { step_if_finite({}); }
  // A step, unless one of `losses` (f32 or f64, where the parameters lie) is not finite: then nothing changes. The host
  // neither waits nor learns which; all that differs from step to step is read on the device, so the call can be captured.
  void step_if_finite(const Tensor& losses);
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state, const std::string& source) override;
  void set_lr(double lr) override;
  double lr() const override { return options_.lr; }
  // AdamState (tensor/kernels.h): on the CPU until the first step, then where the parameters lie; other memory after
  // load_state_dict.
  const Tensor& state() const { return state_; }

 private:
  AdamOptions options_;
  AdamParams params_;
  std::vector<Tensor> m_, v_;  // undefined until the parameter's first gradient; m_ always with beta1 = 0
  Tensor state_;
};

using SgdOptions = SgdParams;
// Gradient descent with momentum (PyTorch's form: velocity = momentum * velocity + grad). State: NAME.momentum_buffer.
class Sgd : public Optimizer {
 public:
  Sgd(NamedVariables parameters, const SgdOptions& options);
  void step() override;
  StateDict state_dict() const override;
  void load_state_dict(const StateDict& state, const std::string& source) override;
  void set_lr(double lr) override { options_.lr = lr; }
  double lr() const override { return options_.lr; }

 private:
  SgdOptions options_;
  std::vector<Tensor> velocity_;
};

// Learning rate of `epoch` (counted from 1) under each schedule, from the initial rate lr0.
namespace schedule {
// lr0 through epoch niter, then lr0 / niter_decay less at the end of every later epoch.
double linear_decay(double lr0, int64_t epoch, int64_t niter, int64_t niter_decay);
double step(double lr0, int64_t epoch, int64_t step_size, double factor);  // times factor every step_size epochs
double exponential(double lr0, int64_t epoch, double factor);              // times factor every epoch
double cosine(double lr0, int64_t epoch, int64_t epochs, double lr_end = 0);  // Loshchilov & Hutter 2017, one period
}  // namespace schedule

}  // namespace asap::nn
