// Pooling beside its gradients. The average's keeps only x's shape. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

Variable avg_pool2d(const Variable& x, const Pool2dParams& params) {
  return make_result("avg_pool2d", avg_pool2d(x.value(), params), x, [params, x_shape = x.shape()](const Tensor& dy) {
    return avg_pool2d_backward(dy, x_shape, params);
  });
}

// The gradient of an output goes to the position its maximum came from.
Variable max_pool2d(const Variable& x, const Pool2dParams& params) {
  const MaxPoolResult result = max_pool2d(x.value(), params);
  return make_result("max_pool2d", result.y, x,
                     [params, index = Saved(result.index), x_shape = x.shape()](const Tensor& dy) {
                       return max_pool2d_backward(dy, index.get("max_pool2d"), x_shape, params);
                     });
}

}  // namespace asap
