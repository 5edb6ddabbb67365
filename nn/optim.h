// Optimisers and learning-rate schedules. An optimiser steps named parameters by their gradients, in place, and its state
// (moments, step count) goes into a StateDict, so that a resumed run continues to the bit.
#pragma once

#include "nn/module.h"

namespace asap::nn {

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
  virtual void set_lr(double lr) { lr_ = lr; }
  double lr() const { return lr_; }

 protected:
  // A tensor for each parameter, undefined until its first gradient. Unused ones stay so: their keys are read and dropped.
  struct Moments {
    std::string suffix;  // of their keys
    bool used = true;
    std::vector<Tensor> values = {};
  };
  Optimizer(NamedVariables parameters, double lr, std::vector<Moments> moments);
  // That of parameter i, zeros if it is its first; undefined if unused.
  Tensor& moment(Moments& moments, size_t i);

  NamedVariables parameters_;
  double lr_;
  std::vector<Moments> moments_;
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
  // AdamState (tensor/kernels.h): on the CPU until the first step, then where the parameters lie; other memory after
  // load_state_dict.
  const Tensor& state() const { return state_; }

 private:
  AdamParams params_;
  Tensor state_;
};

using SgdOptions = SgdParams;
// Gradient descent with momentum (PyTorch's form: velocity = momentum * velocity + grad). State: NAME.momentum_buffer.
class Sgd : public Optimizer {
 public:
  Sgd(NamedVariables parameters, const SgdOptions& options);
  void step() override;

 private:
  SgdOptions options_;
};

// Learning rate of `epoch` (counted from 1) under each schedule, from the initial rate lr0.
namespace schedule {
// lr0 through epoch niter, then lr0 / niter_decay less at the end of every later epoch.
double linear_decay(double lr0, int64_t epoch, int64_t niter, int64_t niter_decay);
double step(double lr0, int64_t epoch, int64_t step_size, double factor);     // times factor every step_size epochs
double cosine(double lr0, int64_t epoch, int64_t epochs, double lr_end = 0);  // Loshchilov & Hutter 2017, one period
}  // namespace schedule

}  // namespace asap::nn
