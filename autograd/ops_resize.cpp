// Resizing beside its gradient, which keeps only x's shape. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

Variable resize2d(const Variable& x, Size2 size, ResizeMode mode) {
  return make_result("resize2d", resize2d(x.value(), size, mode), x,
                     [mode, x_shape = x.shape()](const Tensor& dy) { return resize2d_backward(dy, x_shape, mode); });
}

}  // namespace asap
