// Which numbers are not finite, and who made them. Declared in anomaly.h.
#include "autograd/anomaly.h"

#include <cmath>

#include "tensor/ops.h"

namespace asap::anomaly {
namespace {

// x - x is 0 for a finite number, NaN for any other; and a sum with a NaN is one.
bool is_finite(const Tensor& x) {
  return !is_floating(x.dtype()) || x.numel() == 0 || !std::isnan(sum(sub(x, x)).item());
}

}  // namespace

void check_result(const char* op, const Tensor& result) {
  ASAP_CHECK(is_finite(result), op, ": its result of shape ", result.shape(), " has a NaN or an infinity");
}

void check_gradients(const char* op, const std::string& layer, std::span<const Tensor> gradients) {
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) continue;
    ASAP_CHECK(is_finite(gradients[i]), layer.empty() ? "" : layer + ": ", "backward of ", op,
               ": the gradient of its input ", i, ", of shape ", gradients[i].shape(), ", has a NaN or an infinity");
  }
}

}  // namespace asap::anomaly
