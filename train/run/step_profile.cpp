// Recording steps. Declared in step_profile.h.
#include "train/run/step_profile.h"

#include <sstream>

#include "train/files/user_text.h"

namespace asap::train {

void StepProfile::begin_step() {
  if (done_ != kWarmUp || profiler_) return;
  graphs_ = gan_.uses_graphs();
  gan_.use_graphs(false);
  profiler_ = std::make_unique<nn::Profiler>();
}

std::string StepProfile::end_step() {
  if (++done_ != kWarmUp + steps_) return "";
  profiler_->stop();
  gan_.use_graphs(graphs_);
  profiler_->write_chrome_trace(file_);
  std::ostringstream text;
  text << "steps recorded: " << steps_ << ", in " << terminal_safe(file_.string())
       << " (chrome://tracing, https://ui.perfetto.dev)\n"
       << *profiler_;
  profiler_.reset();
  return text.str();
}

std::string StepProfile::finish() {
  profiler_.reset();
  if (done_ >= kWarmUp + steps_) return "";
  return str("--profile ", steps_, ": nothing was recorded, since the run ended after ", done_,
             " steps, of which the first ", kWarmUp, " do not count");
}

}  // namespace asap::train
