// Ema: an exponential moving average of a model's parameters, which often does better than the parameters of any one step
// (Polyak & Juditsky 1992). Next: training_state.h, which saves one with the rest of a run.
#pragma once

#include "nn/module.h"

namespace asap::nn {

class Ema {
 public:
  // The average begins as the model is now. The model's parameters must stay the same Variables; their values may change.
  Ema(const Module& model, double decay);
  // Of the updates that follow; schedule::average_decay (optim.h) is a rule. It lies where the parameters do, so that an update
  // which was recorded (DeviceGraph) goes by the decay of the time when it is replayed.
  void set_decay(double decay);
  // After each step: average = decay * average + (1 - decay) * parameter. Buffers, such as batch norm's running statistics,
  // are copied, and so is what is frozen. The host neither waits nor looks. `went`, one element that is 1 or 0 (Adam::went),
  // makes an update of a step that did not go leave the average as it is.
  void update(const Tensor& went = {});
  // The average by the model's keys, for a second model: copy.load_state_dict(ema.state_dict()). Shares memory with this.
  StateDict state_dict() const;
  // asap::Error naming `source` and every key that does not fit, and then nothing has changed.
  void load_state_dict(const StateDict& state, const std::string& source = "ema");

 private:
  friend class UseAverage;
  struct Average {
    std::string name;
    Variable of;
    Tensor value;
  };
  std::vector<Average> averages_;  // of parameters and buffers
  double decay_;
  Tensor rate_;  // f64 [1]: 1 - decay, where the first average lies
};

// While one lives, the model has the average's values, and its own wait in the average: to make pictures with, not to train.
// Nothing is copied, and both have their own memory again afterwards. Drops the model's gradients.
class UseAverage {
 public:
  explicit UseAverage(Ema& ema) : ema_(ema) { swap(); }
  ~UseAverage() { swap(); }
  UseAverage(const UseAverage&) = delete;
  UseAverage& operator=(const UseAverage&) = delete;

 private:
  void swap();
  Ema& ema_;
};

}  // namespace asap::nn
