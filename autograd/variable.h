// Reverse-mode differentiation, eager: a Variable is a Tensor value that remembers the operation that made it.
// Calling an op of autograd/ops.h computes the value at once and, if an input needs a gradient, records a Node with a
// closure that maps the output's cotangent to the inputs' gradients. backward() runs the nodes newest first.
// One output a node; no second derivatives; a graph can be run once and is freed as it runs.
// Next: ops.h; ops_conv2d.cpp for an op beside its gradient.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autograd/hooks.h"
#include "tensor/ops.h"
#include "tensor/scoped.h"

namespace asap {

// Pure: returns one gradient per input, in order; may leave those undefined whose `needs` is false, and computes
// nothing for them. A gradient may be a view, strided or shared: the engine never writes into one that is not its own.
using BackwardFn = std::function<std::vector<Tensor>(const Tensor& grad_out, std::span<const bool> needs)>;

// The same for an op of one input, whose gradient is always needed.
using GradientFn = std::function<Tensor(const Tensor& grad_out)>;

// Given a gradient, returns the one to go on with: the same, or another of its shape and type.
using GradientHook = Tensor(const Tensor& grad);
using AccumulatedHook = void();

struct Node;
struct VariableImpl;

// A handle: copies share value, gradient and history.
class Variable {
 public:
  Variable() = default;  // undefined
  Variable(Tensor value, bool requires_grad = false);

  bool defined() const { return impl_ != nullptr; }
  const Tensor& value() const;
  const Shape& shape() const { return value().shape(); }
  int64_t size(int d) const { return value().size(d); }
  int rank() const { return value().rank(); }
  int64_t numel() const { return value().numel(); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }
  double item() const { return value().item(); }
  // The value as a product with x takes it (tensor/operands.h). A leaf keeps what it rounded until its value changes, so
  // that training in mixed precision rounds each weight once a step.
  Tensor operand_beside(const Variable& x) const;

  // Whether gradients flow to or through this variable.
  bool requires_grad() const;
  bool is_leaf() const;
  // Leaves only. Replacing the value (other dtype, other device) drops the gradient.
  void set_requires_grad(bool on);
  void set_value(Tensor value);

  // The gradient that backward() accumulated; undefined if there is none. Kept for leaves, and elsewhere after
  // retain_grad().
  const Tensor& grad() const;
  void set_grad(Tensor grad);
  void zero_grad() { set_grad(Tensor()); }
  void retain_grad();
  // As long as somebody holds the handle, each backward() calls the hook with this variable's whole gradient, before that
  // goes on: to the ops below, or into a leaf's grad.
  [[nodiscard]] HookHandle add_gradient_hook(std::function<GradientHook> hook);
  // Of a leaf: called by each backward() that reaches it as soon as all of its gradient is in grad(), while other leaves' may still
  // be to come.
  [[nodiscard]] HookHandle add_accumulated_hook(std::function<AccumulatedHook> hook);

  // The same value without history.
  Variable detach() const;

  // Accumulates d(this)/d(leaf) into every leaf's grad. Without a cotangent this must have one element.
  void backward() const;
  void backward(const Tensor& cotangent) const;

  // What copies of a handle share, and tells them from others; node.h says what is in it.
  const std::shared_ptr<VariableImpl>& impl() const { return impl_; }

 private:
  friend Variable make_result(const char*, Tensor, const std::vector<Variable>&, BackwardFn);
  std::shared_ptr<VariableImpl> impl_;
};

// The value as operator<< of a Tensor prints it, and whether gradients flow to it.
std::ostream& operator<<(std::ostream& out, const Variable& x);

// Records an op: `value` computed from `inputs`. With gradients off, or no input needing one, records nothing.
Variable make_result(const char* op, Tensor value, const std::vector<Variable>& inputs, BackwardFn backward);
// The same for an op of one input.
Variable make_result(const char* op, Tensor value, const Variable& input, GradientFn gradient);

// Gradients are recorded on this thread unless a NoGrad lives.
inline constinit thread_local bool records_gradients = true;
inline bool grad_enabled() { return records_gradients; }
struct NoGrad : Scoped<bool> {
  NoGrad() : Scoped(records_gradients, false) {}
};

// A tensor kept for the backward pass. get() throws if its storage was written to since: the classic error of
// stepping an optimiser between forward and backward.
class Saved {
 public:
  explicit Saved(const Tensor& tensor) : tensor_(tensor), version_(tensor.version()) {}
  const Tensor& get(const char* op) const;

 private:
  Tensor tensor_;
  uint64_t version_;
};

// An op of the user's own: forward on tensors, and the gradient of each input from (inputs, output, cotangent).
using CustomForward = std::function<Tensor(const std::vector<Tensor>& inputs)>;
using CustomBackward = std::function<std::vector<Tensor>(const std::vector<Tensor>& inputs, const Tensor& output,
                                                         const Tensor& grad_out, std::span<const bool> needs)>;
Variable custom_op(const char* op, const std::vector<Variable>& inputs, const CustomForward& forward,
                   CustomBackward backward);

}  // namespace asap
