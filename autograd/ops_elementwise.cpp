// Elementwise ops beside their gradients. Broadcast inputs get their gradient summed back to their own shape.
// Declared in ops.h; the kernels are kernels::unary, kernels::binary and kernels::where.
#include <cmath>
#include <numbers>

#include "autograd/ops.h"

namespace asap {
namespace {

Tensor scaled(const Tensor& x, double scale) { return scale == 1 ? x : affine(x, scale, 0); }

// Keeps y where the derivative is known from it, so that x can be freed.
Variable unary_op(UnaryOp op, const Variable& x, const UnaryParams& params = {}) {
  Tensor y = unary(op, x.value(), params);
  return make_result(name(op), y, x,
                     [op, params, saved = Saved(saves_output(op) ? y : x.value())](const Tensor& dy) {
                       return unary_backward(op, saved.get(name(op)), dy, params);
                     });
}

// sum_to(mul(a, b), shape); to one element it is a dot product, which writes no products.
Tensor sum_of_products(const Tensor& a, const Tensor& b, const Shape& shape) {
  if (shape.numel() != 1 || a.numel() == 0 || !a.is_contiguous() || !b.is_contiguous()) return sum_to(mul(a, b), shape);
  return matmul(a.reshape({1, -1}), b.reshape({-1, 1})).reshape(shape);
}

// a + sign * b.
Variable sum_op(BinaryOp op, double sign, const Variable& a, const Variable& b) {
  return make_result(name(op), binary(op, a.value(), b.value()), {a, b},
                     [sign, a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy, std::span<const bool> needs) {
                       std::vector<Tensor> grads(2);
                       if (needs[0]) grads[0] = sum_to(dy, a_shape);
                       if (needs[1]) grads[1] = scaled(sum_to(dy, b_shape), sign);
                       return grads;
                     });
}

// maximum and minimum: `wins` is the comparison that gives a the gradient; a tie gives half to each.
Variable select_op(BinaryOp op, BinaryOp wins, const Variable& a, const Variable& b) {
  return make_result(name(op), binary(op, a.value(), b.value()), {a, b},
                     [op, wins, saved_a = Saved(a.value()), saved_b = Saved(b.value())](
                         const Tensor& dy, std::span<const bool> needs) {
                       const Tensor& x = saved_a.get(name(op));
                       const Tensor& y = saved_b.get(name(op));
                       const Tensor share = add(binary(wins, x, y), affine(binary(BinaryOp::equal, x, y), 0.5, 0));
                       std::vector<Tensor> grads(2);
                       if (needs[0]) grads[0] = sum_to(mul(dy, share), x.shape());
                       if (needs[1]) grads[1] = sum_to(mul(dy, affine(share, -1, 1)), y.shape());
                       return grads;
                     });
}

}  // namespace

Variable add(const Variable& a, const Variable& b) { return sum_op(BinaryOp::add, 1, a, b); }
Variable sub(const Variable& a, const Variable& b) { return sum_op(BinaryOp::sub, -1, a, b); }

Variable mul(const Variable& a, const Variable& b) {
  return make_result("mul", mul(a.value(), b.value()), {a, b},
                     [saved_a = Saved(b.requires_grad() ? a.value() : Tensor()),
                      saved_b = Saved(a.requires_grad() ? b.value() : Tensor()), a_shape = a.shape(),
                      b_shape = b.shape()](const Tensor& dy, std::span<const bool> needs) {
                       std::vector<Tensor> grads(2);
                       if (needs[0]) grads[0] = sum_to(mul(dy, saved_b.get("mul")), a_shape);
                       if (needs[1]) grads[1] = sum_to(mul(dy, saved_a.get("mul")), b_shape);
                       return grads;
                     });
}

// y = a/b: da = dy/b, db = -dy*y/b.
Variable div(const Variable& a, const Variable& b) {
  Tensor y = div(a.value(), b.value());
  return make_result("div", y, {a, b},
                     [saved_b = Saved(b.value()), saved_y = Saved(b.requires_grad() ? y : Tensor()),
                      a_shape = a.shape()](const Tensor& dy, std::span<const bool> needs) {
                       const Tensor& divisor = saved_b.get("div");
                       const Tensor quotient = div(dy, divisor);
                       std::vector<Tensor> grads(2);
                       if (needs[0]) grads[0] = sum_to(quotient, a_shape);
                       if (needs[1]) {
                         grads[1] = affine(sum_of_products(quotient, saved_y.get("div"), divisor.shape()), -1, 0);
                       }
                       return grads;
                     });
}

Variable maximum(const Variable& a, const Variable& b) { return select_op(BinaryOp::maximum, BinaryOp::greater, a, b); }
Variable minimum(const Variable& a, const Variable& b) { return select_op(BinaryOp::minimum, BinaryOp::less, a, b); }

// Linear in x: nothing to save.
Variable affine(const Variable& x, double scale, double shift) {
  return make_result("affine", affine(x.value(), scale, shift), x,
                     [scale](const Tensor& dy) { return scaled(dy, scale); });
}

Variable leaky_relu(const Variable& x, double slope) {
  ASAP_CHECK(slope >= 0, "leaky_relu: expected a slope >= 0, got ", slope);  // else y's sign does not tell x's
  return unary_op(UnaryOp::leaky_relu, x, {.a = slope});
}

Variable relu(const Variable& x) { return unary_op(UnaryOp::relu, x); }
Variable tanh(const Variable& x) { return unary_op(UnaryOp::tanh, x); }
Variable sigmoid(const Variable& x) { return unary_op(UnaryOp::sigmoid, x); }
Variable softplus(const Variable& x) { return unary_op(UnaryOp::softplus, x); }
Variable exp(const Variable& x) { return unary_op(UnaryOp::exp, x); }
Variable log(const Variable& x) { return unary_op(UnaryOp::log, x); }
Variable sqrt(const Variable& x) { return unary_op(UnaryOp::sqrt, x); }
Variable abs(const Variable& x) { return unary_op(UnaryOp::abs, x); }
Variable square(const Variable& x) { return unary_op(UnaryOp::square, x); }
Variable sin(const Variable& x) { return unary_op(UnaryOp::sin, x); }
Variable cos(const Variable& x) { return unary_op(UnaryOp::cos, x); }
Variable pow(const Variable& x, double exponent) { return unary_op(UnaryOp::pow, x, {.a = exponent}); }
Variable clamp(const Variable& x, double low, double high) { return unary_op(UnaryOp::clamp, x, {.a = low, .b = high}); }
Variable erf(const Variable& x) { return unary_op(UnaryOp::erf, x); }

Variable gelu(const Variable& x, bool tanh_approximation) {
  if (!tanh_approximation) return x * (0.5 + 0.5 * erf(x * std::numbers::sqrt2 / 2));
  const double scale = std::sqrt(2 / std::numbers::pi);
  return x * (0.5 + 0.5 * tanh(x * affine(square(x), 0.044715 * scale, scale)));
}

Variable silu(const Variable& x) { return x * sigmoid(x); }

// Selected, not multiplied: a gradient that is NaN stays on its side.
Variable where(const Tensor& condition, const Variable& a, const Variable& b) {
  return make_result("where", where(condition, a.value(), b.value()), {a, b},
                     [saved = Saved(condition), a_shape = a.shape(), b_shape = b.shape()](const Tensor& dy,
                                                                                        std::span<const bool> needs) {
                       const Tensor zero = Tensor::zeros({1}, dy.dtype(), dy.device());
                       std::vector<Tensor> grads(2);
                       if (needs[0]) grads[0] = sum_to(where(saved.get("where"), dy, zero), a_shape);
                       if (needs[1]) grads[1] = sum_to(where(saved.get("where"), zero, dy), b_shape);
                       return grads;
                     });
}

// Drawn in f32 for a bf16 x, whose numbers would round to p.
Variable dropout(const Variable& x, double p, RandomStream& random) {
  ASAP_CHECK(p >= 0 && p < 1, "dropout: expected a share p in [0,1), got ", p);
  const uint64_t first = random.take(static_cast<uint64_t>(x.numel()));
  const DType dtype = sum_dtype(x.dtype());
  const Tensor drawn = random_uniform(x.shape(), {.seed = random.seed, .offset = first}, dtype, x.device());
  const Tensor dropped = binary(BinaryOp::less, drawn, Tensor::full({1}, p, dtype, x.device()));
  return x * Variable(affine(dropped, -1 / (1 - p), 1 / (1 - p)).to(x.dtype()));
}

}  // namespace asap
