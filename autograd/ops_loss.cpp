// Losses: means over all elements, composed of other ops where their gradient is good enough. Declared in ops.h.
#include "autograd/ops.h"

namespace asap {
namespace {

void check_same_shape(const char* op, const Variable& a, const Variable& b) {
  ASAP_CHECK(a.shape() == b.shape(), op, ": expected two equal shapes, got ", a.shape(), " and ", b.shape());
  ASAP_CHECK(a.numel() > 0, op, ": ", a.shape(), " has no elements to take a mean of");
}

double reciprocal(int64_t n) { return 1.0 / static_cast<double>(n); }

// The mean over all elements, of bf16 in f32.
Tensor mean_of(const Tensor& x) { return reduce(ReduceOp::mean, x, {}, false, sum_dtype(x.dtype())); }
Variable mean_of(const Variable& x) {
  return make_result("mean", mean_of(x.value()), x, [x_shape = x.shape(), x_dtype = x.dtype()](const Tensor& dy) {
    return affine(dy, reciprocal(x_shape.numel()), 0).to(x_dtype).expand(x_shape);
  });
}

}  // namespace

Variable l1_loss(const Variable& a, const Variable& b) {
  check_same_shape("l1_loss", a, b);
  return mean_of(abs(a - b));
}

Variable mse_loss(const Variable& a, const Variable& b) {
  check_same_shape("mse_loss", a, b);
  return mean_of(square(a - b));
}

// -t log s(x) - (1-t) log(1-s(x)) = max(x,0) - x t + softplus(-|x|): no term overflows, and for a confident right
// answer the first two cancel exactly. d/dx = s(x) - t, d/dt = -x; the terms' own gradients would miss it at 0.
Variable bce_with_logits(const Variable& logits, const Variable& target) {
  check_same_shape("bce_with_logits", logits, target);
  const Tensor& x = logits.value();
  const Tensor& t = target.value();
  const Tensor tail = unary(UnaryOp::softplus, affine(unary(UnaryOp::abs, x), -1, 0));
  const Tensor loss = add(sub(unary(UnaryOp::relu, x), mul(x, t)), tail);
  return make_result("bce_with_logits", mean_of(loss), {logits, target},
                     [saved_x = Saved(x), saved_t = Saved(t)](const Tensor& dy, std::span<const bool> needs) {
                       const Tensor& kept = saved_x.get("bce_with_logits");
                       const Tensor share = affine(dy, reciprocal(kept.numel()), 0).to(kept.dtype());
                       std::vector<Tensor> grads(2);
                       if (needs[0]) {
                         grads[0] = mul(sub(unary(UnaryOp::sigmoid, kept), saved_t.get("bce_with_logits")), share);
                       }
                       if (needs[1]) grads[1] = affine(mul(kept, share), -1, 0);
                       return grads;
                     });
}

Variable cross_entropy(const Variable& logits, const Tensor& labels, int64_t ignore_index, double label_smoothing) {
  Shape expected = logits.shape();
  ASAP_CHECK(logits.rank() >= 2, "cross_entropy: expected logits [N,C,...], got ", logits.shape());
  expected.erase(1);
  ASAP_CHECK(labels.shape() == expected, "cross_entropy: logits ", logits.shape(), " need labels ", expected, ", got ",
             labels.shape());
  ASAP_CHECK(labels.dtype() == DType::i32 || labels.dtype() == DType::u8,
             "cross_entropy: expected i32 or u8 labels, got ", labels.dtype());
  ASAP_CHECK(labels.device() == logits.device(), "cross_entropy: logits are on ", logits.device(), ", but labels on ",
             labels.device(), "; move one with to(Device)");
  ASAP_CHECK(logits.numel() > 0, "cross_entropy: ", logits.shape(), " has no elements to take a mean of");
  const int64_t outside = first_label_outside(labels, logits.size(1), ignore_index);
  ASAP_CHECK(outside < 0, "cross_entropy: label ", labels.contiguous().reshape({-1}).select(0, outside).item(),
             " is outside 0..", logits.size(1) - 1, "; one that is not to count can be given as ignore_index");
  ASAP_CHECK(label_smoothing >= 0 && label_smoothing <= 1, "cross_entropy: expected a label smoothing in [0,1], got ",
             label_smoothing);
  // All on the device, without a look at it. An ignored label stands for class 0 until it is left out.
  const Tensor numbers = labels.unsqueeze(1).to(DType::f64);
  const Tensor ignored_number = Tensor::full({1}, static_cast<double>(ignore_index), DType::f64, labels.device());
  const Tensor ignored = binary(BinaryOp::equal, numbers, ignored_number), counted = affine(ignored, -1, 1);
  const Variable log_p = log_softmax(logits, 1);
  Variable likelihood = gather(log_p, 1, mul(numbers, counted).to(DType::i32));
  if (label_smoothing > 0) {
    likelihood = likelihood * (1 - label_smoothing) + mean(log_p, {1}, true) * label_smoothing;
  }
  const Variable zero(Tensor::zeros({1}, logits.dtype(), logits.device()));
  return -(sum(where(counted, likelihood, zero)) / Variable(sum(counted).to(logits.dtype())));
}

}  // namespace asap
