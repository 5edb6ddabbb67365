// Numeric check of a gradient: L(x) = <c, f(x)> with a random cotangent c, so backward(c) gives dL/dx, which must match
// (L(x + h) - L(x - h)) / 2h element by element. Declared in gradcheck.h.
#include "tests/gradcheck.h"

#include <algorithm>
#include <cmath>

namespace asap::tests {
namespace {

using Function = std::function<Variable(const std::vector<Variable>&)>;
using Values = std::vector<double>;

// Gradients below this are compared absolutely: rounding of f alone gives differences of about 1e-16 / step.
constexpr double kSmallestScale = 1e-4;

double dot(const Values& a, const Values& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}

// dL/dx[element], where x is inputs[which]; the other inputs stay as they are.
double central_difference(const Function& f, std::vector<Variable> inputs, size_t which, size_t element,
                          const Values& cotangent, double step) {
  const NoGrad no_grad;
  const Tensor x = inputs[which].value();
  auto shifted = [&](double by) {
    Values values = x.to_vector<double>();
    values[element] += by;
    inputs[which] = Variable(Tensor::from(values, x.shape(), x.device()));
    return f(inputs).value().to_vector<double>();
  };
  const Values above = shifted(step), below = shifted(-step);
  Values difference(above.size());
  for (size_t i = 0; i < above.size(); ++i) difference[i] = above[i] - below[i];
  return dot(cotangent, difference) / (2 * step);
}

void check_input(const Function& f, const std::vector<Variable>& inputs, size_t which, const Values& cotangent,
                 const GradcheckParams& params, GradcheckResult& result) {
  const Variable& x = inputs[which];
  if (!x.grad().defined()) {
    result.passed = false;
    result.message += str("input ", which, " of shape ", x.shape(), " got no gradient\n");
    return;
  }
  const Values analytic = x.grad().to_vector<double>();
  const int64_t n = x.numel(), checked = std::min(n, params.max_elements);
  std::vector<size_t> elements;
  Values numeric;
  double scale = kSmallestScale;
  for (int64_t i = 0; i < checked; ++i) {
    elements.push_back(static_cast<size_t>(i * n / checked));
    numeric.push_back(central_difference(f, inputs, which, elements.back(), cotangent, params.step));
    scale = std::max(scale, std::abs(numeric.back()));
  }
  for (double value : analytic) scale = std::max(scale, std::abs(value));
  for (size_t i = 0; i < elements.size(); ++i) {
    const double error = std::abs(analytic[elements[i]] - numeric[i]) / scale;
    if (!(error <= result.worst)) result.worst = error;  // a NaN counts as worse
    if (error <= params.tolerance) continue;
    if (result.message.size() < 2000) {
      result.message += str("input ", which, " of shape ", x.shape(), ", element ", elements[i], ": analytic ",
                            analytic[elements[i]], ", numeric ", numeric[i], ", relative difference ", error, "\n");
    }
    result.passed = false;
  }
}

}  // namespace

GradcheckResult gradcheck(const Function& f, const std::vector<Variable>& inputs, const GradcheckParams& params) {
  std::vector<Variable> leaves;  // copies, so that the caller's gradients stay as they are
  for (const Variable& input : inputs) {
    ASAP_CHECK(!input.requires_grad() || input.dtype() == DType::f64, "gradcheck: expected f64 inputs, got ",
               input.dtype());
    leaves.emplace_back(input.value().clone(), input.requires_grad());
  }
  const Variable y = f(leaves);
  // Far from the numbers that inputs drawn with the same seed hold: an instance norm's gradient vanishes for c = x.
  constexpr uint64_t kOwnRange = uint64_t{1} << 40;
  const Tensor cotangent =
      random_normal(y.shape(), {.seed = params.seed, .offset = kOwnRange}, DType::f64, y.device());
  y.backward(cotangent);
  GradcheckResult result;
  const Values c = cotangent.to_vector<double>();
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].requires_grad()) check_input(f, leaves, i, c, params, result);
  }
  return result;
}

}  // namespace asap::tests
