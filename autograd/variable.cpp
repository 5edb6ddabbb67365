// The graph and the engine that runs it backwards. Declared in variable.h.
#include "autograd/variable.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <unordered_map>
#include <unordered_set>

#include "autograd/anomaly.h"
#include "autograd/node.h"
#include "tensor/operands.h"
#include "tensor/trace.h"

namespace asap {

// A long chain must not be destroyed by recursion: nodes that nobody else holds are moved to a list first.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> pending;
  auto collect = [&pending](std::vector<Edge>& edges) {
    for (Edge& edge : edges) {
      if (edge.node && edge.node.use_count() == 1) pending.push_back(std::move(edge.node));
    }
    edges.clear();
  };
  collect(inputs);
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    collect(node->inputs);
  }
}

namespace {

std::atomic<uint64_t> next_sequence{1};

void accumulate(Tensor grad, Tensor& into) {
  if (!into.defined()) {
    into = std::move(grad);
  } else if (into.owns_storage_alone() && (into.is_contiguous() || into.is_channels_last())) {
    add_into(grad, into);
  } else {
    into = add(into, grad);
  }
}

// Leaves own a packed gradient that nothing else sees, so that optimisers may read and users may write it.
void accumulate_leaf(Tensor grad, VariableImpl& leaf) {
  const bool first = !leaf.grad.defined();
  accumulate(std::move(grad), leaf.grad);
  if (first && !leaf.grad.owns_storage_alone()) leaf.grad = leaf.grad.clone();
  leaf.grad = leaf.grad.contiguous();
}

Tensor hooked(const Hooks<GradientHook>& hooks, Tensor grad) {
  hooks.each([&grad](const auto& hook) {
    Tensor changed = hook(grad);
    ASAP_CHECK(changed.defined() && changed.shape() == grad.shape() && changed.dtype() == grad.dtype(),
               "gradient hook: expected a gradient of shape ", grad.shape(), " and type ", grad.dtype(), ", got ",
               changed.defined() ? str(changed.shape(), " and ", changed.dtype()) : "none");
    grad = std::move(changed);
  });
  return grad;
}

// Gradients of one pass. A leaf with hooks is told when the last of its gradients has come.
class LeafGradients {
 public:
  // A gradient will come to this leaf: once for each place where the graph uses it.
  void expect(const std::shared_ptr<VariableImpl>& leaf) {
    if (!leaf->hooks.empty() || !leaf->accumulated.empty()) ++waiting_[leaf.get()].expected;
  }
  void add(Tensor grad, const std::shared_ptr<VariableImpl>& leaf) {
    const auto place = waiting_.find(leaf.get());
    if (place == waiting_.end()) return accumulate_leaf(std::move(grad), *leaf);
    Waiting& waiting = place->second;
    if (leaf->hooks.empty()) {
      accumulate_leaf(std::move(grad), *leaf);
    } else {
      accumulate(std::move(grad), waiting.grad);
    }
    if (--waiting.expected > 0) return;
    if (!leaf->hooks.empty()) accumulate_leaf(hooked(leaf->hooks, std::move(waiting.grad)), *leaf);
    leaf->accumulated.each([](const auto& hook) { hook(); });
  }

 private:
  struct Waiting {
    int64_t expected = 0;
    Tensor grad;  // what hooks have yet to see
  };
  std::unordered_map<const VariableImpl*, Waiting> waiting_;
};

// All nodes below `root`, newest first: every node comes before the nodes that made its inputs.
std::vector<std::shared_ptr<Node>> reachable(const std::shared_ptr<Node>& root) {
  std::vector<std::shared_ptr<Node>> found{root};
  std::unordered_set<const Node*> seen{root.get()};
  for (size_t i = 0; i < found.size(); ++i) {
    const std::shared_ptr<Node> node = found[i];
    for (const Edge& edge : node->inputs) {
      if (edge.node && seen.insert(edge.node.get()).second) found.push_back(edge.node);
    }
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return found;
}

void run_node(Node& node, LeafGradients& leaves) {
  ASAP_CHECK(node.backward, "backward: the graph of ", node.op, " was already run and freed; compute the value again");
  std::unique_ptr<bool[]> needs(new bool[node.inputs.size()]);
  for (size_t i = 0; i < node.inputs.size(); ++i) needs[i] = node.inputs[i].needed();
  const Tensor grad = std::move(node.grad);
  node.grad = Tensor();
  const Traced traced(TraceKind::gradient, [&] { return TraceLabel{node.op}; });
  std::vector<Tensor> grads = node.backward(grad, {needs.get(), node.inputs.size()});
  if (detects_anomaly) anomaly::check_gradients(node.op, node.layer, grads);
  node.backward = nullptr;  // frees what the closure saved
  ASAP_CHECK(grads.size() == node.inputs.size(), "backward: ", node.op, " returned ", grads.size(), " gradients for ",
             node.inputs.size(), " inputs");
  for (size_t i = 0; i < grads.size(); ++i) {
    Edge& edge = node.inputs[i];
    if (!edge.needed()) continue;
    ASAP_CHECK(grads[i].defined() && grads[i].shape() == node.input_shapes[i], "backward: ", node.op,
               " gave its input ", i, " of shape ", node.input_shapes[i], " a gradient of shape ",
               grads[i].defined() ? grads[i].shape() : Shape{});
    if (edge.leaf) {
      leaves.add(std::move(grads[i]), edge.leaf);
    } else {
      accumulate(std::move(grads[i]), edge.node->grad);
    }
  }
}

void check_defined(const Variable& variable) { ASAP_CHECK(variable.defined(), "Variable: the variable is undefined"); }

}  // namespace

const Tensor& Saved::get(const char* op) const {
  ASAP_CHECK(tensor_.version() == version_, "backward: a tensor of shape ", tensor_.shape(), " that ", op,
             " saved was modified in place since (version ", version_, ", now ", tensor_.version(),
             "); run backward before the optimiser's step, or compute the value again");
  return tensor_;
}

Variable::Variable(Tensor value, bool requires_grad) {
  if (!value.defined()) return;
  impl_ = std::make_shared<VariableImpl>();
  ASAP_CHECK(!requires_grad || is_floating(value.dtype()), "Variable: only floating tensors have gradients, got ",
             value.dtype());
  impl_->value = std::move(value);
  impl_->requires_grad = requires_grad;
}

const Tensor& Variable::value() const {
  check_defined(*this);
  return impl_->value;
}
Tensor Variable::operand_beside(const Variable& x) const {
  if (!is_rounded(x.value(), value())) return value();
  if (!is_leaf()) return rounded(x.value(), value());
  Tensor& kept = impl_->rounded;
  const Layout layout = weight_layout(x.value().device(), x.value().dtype(), x.value().layout());
  if (!kept.defined() || kept.layout() != layout || impl_->rounded_version != value().version()) {
    kept = rounded(x.value(), value());
    impl_->rounded_version = value().version();
  }
  return kept;
}
bool Variable::requires_grad() const { return defined() && (impl_->requires_grad || impl_->node); }
bool Variable::is_leaf() const { return !impl_ || !impl_->node; }

void Variable::set_requires_grad(bool on) {
  ASAP_CHECK(defined() && is_leaf(), "set_requires_grad: expected a leaf, got the result of ",
             defined() ? impl_->node->op : "nothing");
  impl_->requires_grad = on;
}

void Variable::set_value(Tensor value) {
  ASAP_CHECK(defined() && is_leaf(), "set_value: expected a leaf");
  impl_->value = std::move(value);
  impl_->grad = impl_->rounded = Tensor();
}

const Tensor& Variable::grad() const {
  check_defined(*this);
  return impl_->grad;
}
void Variable::set_grad(Tensor grad) {
  check_defined(*this);
  impl_->grad = std::move(grad);
}
void Variable::retain_grad() {
  check_defined(*this);
  if (impl_->node) impl_->node->retained = impl_;
}

HookHandle Variable::add_gradient_hook(std::function<GradientHook> hook) {
  ASAP_CHECK(requires_grad(), "add_gradient_hook: expected a variable that gets a gradient");
  return (impl_->node ? impl_->node->hooks : impl_->hooks).add(std::move(hook));
}

HookHandle Variable::add_accumulated_hook(std::function<AccumulatedHook> hook) {
  ASAP_CHECK(requires_grad() && is_leaf(), "add_accumulated_hook: expected a leaf that gets a gradient");
  return impl_->accumulated.add(std::move(hook));
}

Variable Variable::detach() const { return Variable(value()); }

void Variable::backward() const {
  ASAP_CHECK(numel() == 1, "backward: without a cotangent the value must have one element, got shape ", shape());
  backward(Tensor::ones(shape(), dtype(), device()));
}

void Variable::backward(const Tensor& cotangent) const {
  ASAP_CHECK(requires_grad(), "backward: the value does not depend on anything that requires a gradient");
  ASAP_CHECK(cotangent.shape() == shape() && cotangent.dtype() == dtype(), "backward: expected a cotangent of shape ",
             shape(), " and type ", dtype(), ", got ", cotangent.shape(), " and ", cotangent.dtype());
  const NoGrad no_grad;
  LeafGradients leaves;
  if (!impl_->node) {
    leaves.expect(impl_);
    return leaves.add(cotangent, impl_);
  }
  auto order = reachable(impl_->node);
  for (const std::shared_ptr<Node>& node : order) {
    for (const Edge& edge : node->inputs) {
      if (edge.leaf) leaves.expect(edge.leaf);
    }
  }
  impl_->node->grad = cotangent;
  for (std::shared_ptr<Node>& node : order) {
    if (!node->hooks.empty()) node->grad = hooked(node->hooks, std::move(node->grad));
    if (const auto retained = node->retained.lock()) accumulate(node->grad, retained->grad);
    run_node(*node, leaves);
    node.reset();
  }
}

std::ostream& operator<<(std::ostream& out, const Variable& x) {
  if (!x.defined()) return out << "undefined variable";
  return out << x.value() << (x.requires_grad() ? "\nrequires a gradient" : "");
}

Variable make_result(const char* op, Tensor value, const std::vector<Variable>& inputs, BackwardFn backward) {
  if (detects_anomaly) anomaly::check_result(op, value);
  Variable result(std::move(value));
  const bool needed =
      grad_enabled() && std::any_of(inputs.begin(), inputs.end(), [](const Variable& v) { return v.requires_grad(); });
  if (!needed) return result;
  auto node = std::make_shared<Node>();
  node->op = op;
  node->sequence = next_sequence++;
  node->shape = result.shape();
  if (detects_anomaly) node->layer = anomaly_layer;
  node->backward = std::move(backward);
  for (const Variable& input : inputs) {
    Edge edge;
    if (input.requires_grad()) {
      edge.node = input.impl_->node;
      if (!edge.node) edge.leaf = input.impl_;
    }
    node->inputs.push_back(std::move(edge));
    node->input_shapes.push_back(input.defined() ? input.shape() : Shape{});
  }
  result.impl_->node = std::move(node);
  return result;
}

Variable make_result(const char* op, Tensor value, const Variable& input, GradientFn gradient) {
  return make_result(
      op, std::move(value), std::vector{input},
      [gradient = std::move(gradient)](const Tensor& dy, std::span<const bool>) { return std::vector{gradient(dy)}; });
}

Variable custom_op(const char* op, const std::vector<Variable>& inputs, const CustomForward& forward,
                   CustomBackward backward) {
  std::vector<Tensor> values;
  std::vector<Saved> saved;
  for (const Variable& input : inputs) {
    values.push_back(input.value());
    saved.emplace_back(input.value());
  }
  Tensor output = forward(values);
  return make_result(op, output, inputs,
                     [op, saved, output = Saved(output), backward = std::move(backward)](const Tensor& grad_out,
                                                                                         std::span<const bool> needs) {
                       std::vector<Tensor> kept;
                       for (const Saved& tensor : saved) kept.push_back(tensor.get(op));
                       return backward(kept, output.get(op), grad_out, needs);
                     });
}

}  // namespace asap
