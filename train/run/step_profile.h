// A few steps of a run, recorded by kernel, gradient and layer (nn/profiler.h) after the first ones, which are slower:
// RUN/profile.json for chrome://tracing or https://ui.perfetto.dev, and a table. Used by trainer.cpp.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "asapnet/model.h"
#include "nn/profiler.h"

namespace asap::train {

class StepProfile {
 public:
  // Records `steps` steps behind the first kWarmUp. While it records, a card's steps are not replayed from graphs, which would
  // show no kernels.
  StepProfile(int64_t steps, const std::filesystem::path& run, asapnet::GanStep& gan)
      : steps_(steps), file_(run / "profile.json"), gan_(gan) {}

  // Before each step.
  void begin_step();
  // After it. When the last one is recorded, writes the file and returns the table, otherwise "".
  std::string end_step();
  // At the end of a run: what to tell if that came before the steps were recorded, so that there is no file; "" otherwise.
  std::string finish();

  static constexpr int64_t kWarmUp = 3;

 private:
  const int64_t steps_;
  const std::filesystem::path file_;
  asapnet::GanStep& gan_;
  int64_t done_ = 0;  // steps, the first ones too
  bool graphs_ = false;
  std::unique_ptr<nn::Profiler> profiler_;
};

}  // namespace asap::train
