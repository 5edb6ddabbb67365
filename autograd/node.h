// The graph's own structures, for the files of autograd/: what a Variable's handle leads to, and the record of one op.
// docs/autograd.md executes a graph of them by hand.
#pragma once

#include <string>

#include "autograd/variable.h"

namespace asap {

// Where a gradient goes: to the node that made the input, or to a leaf. Neither set: no gradient is needed.
// Intermediate values are not held: only closures keep what they saved.
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<VariableImpl> leaf;
  bool needed() const { return node || leaf; }
};

struct Node {
  const char* op = "";
  uint64_t sequence = 0;  // creation order: inputs always have a smaller number
  BackwardFn backward;
  std::vector<Edge> inputs;
  std::vector<Shape> input_shapes;
  Shape shape;                           // of the output
  Tensor grad;                           // accumulates while backward() runs
  std::weak_ptr<VariableImpl> retained;  // set by retain_grad()
  Hooks<GradientHook> hooks;
  std::string layer;  // where the op ran, if a DetectAnomaly lived
  ~Node();
};

struct VariableImpl {
  Tensor value, grad;
  Tensor rounded;  // what operand_beside made of the value when that had this version
  uint64_t rounded_version = 0;
  bool requires_grad = false;  // leaves
  std::shared_ptr<Node> node;  // null for leaves
  // Leaves.
  Hooks<GradientHook> hooks;
  Hooks<AccumulatedHook> accumulated;
};

}  // namespace asap
