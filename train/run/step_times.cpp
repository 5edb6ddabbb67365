// Seconds as shares. Declared in step_times.h.
#include "train/run/step_times.h"

#include <cmath>
#include <numeric>

#include "tensor/error.h"

namespace asap::train {

double StepTimes::total() const { return std::accumulate(seconds_.begin(), seconds_.end(), 0.0); }

double StepTimes::pictures_per_second() const { return total() > 0 ? static_cast<double>(pictures_) / total() : 0; }

std::string StepTimes::shares() const {
  constexpr const char* names[] = {"loading", "generator", "discriminator", "saving"};
  std::string text;
  for (size_t i = 0; i < seconds_.size(); ++i) {
    const double share = total() > 0 ? seconds_[i] / total() : 0;
    text += str(text.empty() ? "" : ", ", names[i], " ", std::lround(100 * share), " %");
  }
  return text;
}

}  // namespace asap::train
