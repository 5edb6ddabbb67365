// Trees and tables of modules. Declared in summary.h. Multiply-accumulates are counted where they are done: of each kernel
// that runs while a layer does, from the shapes of its tensors; so they are right whatever a layer is composed of.
#include "nn/summary.h"

#include <algorithm>
#include <iomanip>
#include <map>
#include <ostream>
#include <sstream>

#include "tensor/trace.h"

namespace asap::nn {
namespace {

// Of one run of a kernel (kernels.h says its tensors). A convolution's output element, or a transposed one's input element,
// meets the weights of one filter; an element of a product meets a row.
int64_t macs_of(const TraceLabel& label) {
  const std::string slot = label.name.substr(0, label.name.find('='));
  const std::vector<Shape>& shapes = label.shapes;
  const auto filter = [](const Shape& w) { return w.numel() / w[0]; };
  if (slot == "conv2d_forward" || slot == "conv2d_instance_norm") return shapes.back().numel() * filter(shapes[1]);
  if (slot == "conv2d_input_grad") return shapes[0].numel() * filter(shapes[1]);
  if (slot == "matmul") return shapes[2].numel() * (shapes[0].numel() / (shapes[0][0] * shapes[2][1]));
  return 0;
}

// Counts into whatever layers are being called, for its life.
class MacCounter : public TraceObserver {
 public:
  explicit MacCounter(std::map<const Layer*, int64_t>& macs) : macs_(macs) { before_ = trace_observer.exchange(this); }
  ~MacCounter() override { trace_observer = before_; }
  void begin(TraceKind kind, const TraceLabel& label) override {
    if (kind != TraceKind::kernel || !innermost_call || kernels_++ > 0) return;
    const int64_t macs = macs_of(label);
    for (const LayerCall* call = innermost_call; macs > 0 && call; call = call->caller) macs_[&call->layer] += macs;
  }
  void end(TraceKind kind) override {
    if (kind == TraceKind::kernel && innermost_call) --kernels_;
  }

 private:
  std::map<const Layer*, int64_t>& macs_;
  TraceObserver* before_;
  int kernels_ = 0;  // within another: one that runs others counts itself
};

// In evaluation, whatever the mode of each module; nothing of the example may stay in running statistics.
class Evaluating {
 public:
  explicit Evaluating(Module& module) {
    module.apply([this](const std::string&, Module& part) { modes_.emplace_back(&part, part.is_training()); });
    module.eval();
  }
  ~Evaluating() {
    for (const auto& [module, training] : modes_) module->train(training);  // parents come first
  }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> modes_;
};

void print_tree(std::ostream& out, const std::string& name, const Module& module, const std::string& indent) {
  out << indent << (name.empty() ? "" : name + ": ") << module.type_name();
  for (const auto& [key, variable] : module.named_state()) {
    if (key.find('.') == std::string::npos) out << "  " << key << ' ' << variable.shape();  // its own
  }
  out << '\n';
  for (const auto& [child_name, child] : module.children()) print_tree(out, child_name, *child, indent + "  ");
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Module& module) {
  print_tree(out, "", module, "");
  return out << module.parameter_count() << " parameters\n";
}

std::vector<LayerSummary> summarize(Layer& layer, const Variable& example) {
  std::vector<std::pair<Layer*, LayerSummary>> rows;
  std::map<const Layer*, int64_t> macs, calls;
  std::map<const Layer*, Shape> outputs;
  std::vector<HookHandle> hooks;
  layer.apply([&](const std::string& path, Module& module) {
    auto* part = dynamic_cast<Layer*>(&module);
    if (!part) return;
    rows.push_back({part, {.path = path, .type = module.type_name(), .parameters = module.parameter_count()}});
    if (!calls.try_emplace(part, 0).second) return;  // a shared layer has its hook already
    hooks.push_back(part->add_after_hook([&](Layer& called, const Variable&, const Variable& y) {
      ++calls[&called];
      outputs[&called] = y.shape();
      return y;
    }));
  });
  {
    const NoGrad no_grad;
    const BorrowedLayers from_here;
    const Evaluating evaluating(layer);
    const MacCounter counter(macs);
    layer(example);
  }
  std::vector<LayerSummary> summaries;
  for (auto& [part, row] : rows) {
    row.calls = calls[part];
    row.macs = macs[part];
    row.output = outputs[part];
    summaries.push_back(std::move(row));
  }
  return summaries;
}

std::string summary(Layer& layer, const Variable& example) {
  const std::vector<LayerSummary> rows = summarize(layer, example);
  const auto name = [](const LayerSummary& row) { return row.path.empty() ? row.type : row.path + ": " + row.type; };
  size_t width = 0;
  for (const LayerSummary& row : rows) width = std::max(width, name(row).size());
  std::ostringstream out;
  out << std::left << std::setw(static_cast<int>(width)) << "layer" << std::right << std::setw(22) << "output"
      << std::setw(14) << "parameters" << std::setw(16) << "mult-adds" << '\n';
  for (const LayerSummary& row : rows) {
    out << std::left << std::setw(static_cast<int>(width)) << name(row) << std::right << std::setw(22)
        << (row.calls ? row.output.str() : "not called") << std::setw(14) << row.parameters << std::setw(16) << row.macs
        << '\n';
  }
  return out.str();
}

}  // namespace asap::nn
