// Compares backward() with central differences in float64, under a random cotangent: a cotangent of ones misses
// whole terms (an instance norm's gradient is zero under it).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "autograd/variable.h"

namespace asap::tests {

struct GradcheckParams {
  double step = 1e-5;       // of the central difference
  double tolerance = 1e-6;  // on |analytic - numeric| relative to the input gradient's largest magnitude
  uint64_t seed = 1;        // of the cotangent
  int64_t max_elements = 200;  // per input; larger inputs are checked at that many evenly spread elements
};
struct GradcheckResult {
  bool passed = true;
  double worst = 0;     // largest relative difference
  std::string message;  // names input, element and both values where it failed
};

// f maps the inputs to one value; inputs are f64 and those that require a gradient are checked.
GradcheckResult gradcheck(const std::function<Variable(const std::vector<Variable>&)>& f,
                          const std::vector<Variable>& inputs, const GradcheckParams& params = {});

}  // namespace asap::tests
