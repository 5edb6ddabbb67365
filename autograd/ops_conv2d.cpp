// conv2d beside its gradient: the example of how an op is differentiated. The forward value comes from tensor/ops.h; the
// closure keeps what the gradients need and computes those that are asked for. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {

// x [N,C,H,W], w [O,C/groups,KH,KW], bias [O] or undefined -> y [N,O,OH,OW].
// dx needs w, dw needs x, dbias needs neither: a frozen w neither keeps x alive nor costs a weight gradient. An activation
// is undone first, from y alone; neither the sums before it nor the padded picture are kept.
Variable conv2d(const Variable& x, const Variable& w, const Variable& bias, const Conv2dParams& params) {
  const Tensor weights = w.operand_beside(x);
  const Tensor y = conv2d(x.value(), weights, bias.defined() ? bias.value() : Tensor(), params);
  const Saved saved_x(w.requires_grad() ? x.value() : Tensor());
  const Saved saved_w(x.requires_grad() ? weights : Tensor());
  const Saved saved_y(params.activation_slope != 1 ? y : Tensor());
  auto backward = [saved_x, saved_w, saved_y, x_shape = x.shape(), w_shape = w.shape(), w_dtype = w.dtype(), params](
                      const Tensor& dy, std::span<const bool> needs) {
    const double slope = params.activation_slope;
    const Tensor dsum = slope == 1 ? dy : unary_backward(UnaryOp::leaky_relu, saved_y.get("conv2d"), dy, {.a = slope});
    std::vector<Tensor> grads(3);  // of x, w, bias
    if (needs[0]) grads[0] = conv2d_input_grad(dsum, saved_w.get("conv2d"), x_shape, params);
    if (needs[1]) grads[1] = conv2d_weight_grad(saved_x.get("conv2d"), dsum, w_shape, params, w_dtype);
    if (needs[2]) grads[2] = sum(dsum, {0, 2, 3}, false, sum_dtype(dsum.dtype()));
    return grads;
  };
  return make_result("conv2d", y, {x, w, bias}, backward);
}

}  // namespace asap
