// Padding beside its gradient, which keeps only x's shape. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

Variable pad2d(const Variable& x, const Pad2dParams& params) {
  return make_result("pad2d", pad2d(x.value(), params), x,
                     [params, x_shape = x.shape()](const Tensor& dy) { return pad2d_backward(dy, x_shape, params); });
}

}  // namespace asap
