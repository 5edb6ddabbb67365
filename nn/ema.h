// Ema: an exponential moving average of a model's parameters, which often does better than the parameters of any one step
// (Polyak & Juditsky 1992). Next: training_state.h, which saves one with the rest of a run.
#pragma once

#include "nn/module.h"

namespace asap::nn {

class Ema {
 public:
  // The average begins as the model is now. The model's parameters must stay the same Variables; their values may change.
  Ema(const Module& model, double decay);
  // After each step: average = decay * average + (1 - decay) * parameter. Buffers, such as batch norm's running statistics,
  // are copied, and so is what is frozen.
  void update();
  // The average by the model's keys, for a second model: copy.load_state_dict(ema.state_dict()). Shares memory with this.
  StateDict state_dict() const;
  // asap::Error naming `source` and every key that does not fit, and then nothing has changed.
  void load_state_dict(const StateDict& state, const std::string& source = "ema");

 private:
  struct Average {
    std::string name;
    Variable of;
    Tensor value;
  };
  std::vector<Average> averages_;  // of parameters and buffers
  double decay_;
};

}  // namespace asap::nn
