// conv2d beside its gradient: the example of how an op is differentiated. The forward value comes from tensor/ops.h; the
// closure keeps what the gradients need and computes those that are asked for. Then the convolutions that are made of its
// kernels. Declared in ops.h.
#include "autograd/ops.h"
#include "autograd/parameters.h"

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

// Pictures of one row.
Variable conv1d(const Variable& x, const Variable& w, const Variable& bias, const Conv1dParams& params) {
  ASAP_CHECK(x.rank() == 3 && w.rank() == 3, "conv1d: expected x [N,C,L] and w [O,C/groups,K], got ", x.shape(), " and ",
             w.shape());
  return squeeze(conv2d(unsqueeze(x, 2), unsqueeze(w, 2), bias,
                        {.stride = {1, params.stride},
                         .padding = {0, params.padding},
                         .dilation = {1, params.dilation},
                         .groups = params.groups,
                         .pad_mode = params.pad_mode}),
                 2);
}

// The input gradient of the convolution that maps y's shape to x's. It is linear in x and in w: its own gradients are that
// convolution, and its weight gradient with x and dy in each other's place.
Variable conv_transpose2d(const Variable& x, const Variable& w, const Variable& bias, const ConvTranspose2dParams& p) {
  const Shape shape = conv_transpose2d_shape(x.shape(), w.shape(), p);
  const Conv2dParams params{.stride = p.stride, .padding = p.padding, .dilation = p.dilation, .groups = p.groups};
  const Tensor weights = w.operand_beside(x);
  auto backward = [saved_x = Saved(w.requires_grad() ? x.value() : Tensor()),
                   saved_w = Saved(x.requires_grad() ? weights : Tensor()), w_shape = w.shape(), w_dtype = w.dtype(), params](
                      const Tensor& dy, std::span<const bool> needs) {
    std::vector<Tensor> grads(2);
    if (needs[0]) grads[0] = conv2d(dy, saved_w.get("conv_transpose2d"), {}, params);
    if (needs[1]) grads[1] = conv2d_weight_grad(dy, saved_x.get("conv_transpose2d"), w_shape, params, w_dtype);
    return grads;
  };
  const Variable y =
      make_result("conv_transpose2d", conv2d_input_grad(x.value(), weights, shape, params), {x, w}, backward);
  if (!bias.defined()) return y;
  checks::has_shape("conv_transpose2d", "bias", bias.value(), {shape[1]});
  return add_parameter("conv_transpose2d", y, reshape(bias, {shape[1], 1, 1}));
}

}  // namespace asap
