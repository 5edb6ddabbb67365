// Module: a tree of named parameters, buffers and child modules. Names join with '.', in order of registration, so they
// are PyTorch's state_dict keys and official files load unchanged. A Layer is a Module with forward(x) -> y.
// Next: layers.h, optim.h, state_dict.h, summary.h.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops.h"
#include "nn/state_dict.h"

namespace asap::nn {

// What a state says about one of its tensors, for a check that needs no values.
struct StateKey {
  std::string name;
  std::vector<int64_t> sizes;
  bool floating = true;
};

using NamedVariables = std::vector<std::pair<std::string, Variable>>;

// Where a state does not fit a module: keys, and a line for each ("missing: NAME SHAPE"), which << prints.
struct StateDifference {
  std::vector<std::string> missing, unexpected, misfits;  // a misfit has another shape, or integers for fractions
  std::string text;
  bool empty() const { return text.empty(); }
};
inline std::ostream& operator<<(std::ostream& out, const StateDifference& difference) { return out << difference.text; }

class Module {
 public:
  Module() = default;
  virtual ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // A module's own come first, then its children's, prefixed with the child's name. What is in a module that was registered
  // in several places is listed once, under its first name; named_state() has it under each.
  NamedVariables named_parameters() const { return once(collect(true, false)); }
  NamedVariables named_buffers() const { return once(collect(false, true)); }
  NamedVariables named_state() const { return collect(true, true); }  // both
  std::vector<Variable> parameters() const;
  int64_t parameter_count() const;

  // Parameters and buffers by PyTorch's keys; the tensors share memory with the module.
  StateDict state_dict() const;
  // Copies values in, converting floating types. Strict: throws one Error that lists every missing, unexpected and
  // mis-shaped key, and then changes nothing. `source` names the file in the error. A missing num_batches_tracked
  // counts as 0: PyTorch before 0.4.1 wrote none.
  void load_state_dict(const StateDict& state, const std::string& source = "state_dict");
  // Copies in what fits, leaves the rest as it is, and returns what that is: for a body with a new head.
  StateDifference load_matching(const StateDict& state);

  // The check alone.
  void check_state(const std::vector<StateKey>& state, const std::string& source) const;

  // Training mode is what batch norm and spectral norm ask for; on at construction.
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }
  // Its name from the root on, as in the keys of the root's state: "model.3"; empty for the root. Of a module that was
  // registered several times, the first.
  std::string path() const;
  // Its class, without this library's namespace: "Conv2d".
  std::string type_name() const;
  // Name and module, in the order of registration.
  const std::vector<std::pair<std::string, std::shared_ptr<Module>>>& children() const { return children_; }
  // f(path from here, module) of this module (path "") and of all below it, parents before their children.
  void apply(const std::function<void(const std::string& path, Module& module)>& f);

  void zero_grad();
  void set_requires_grad(bool on);
  // Replace every parameter and buffer by a copy on that device, or (floating ones) of that type.
  void to(Device device);
  void to(DType dtype);

 protected:
  Variable register_parameter(const std::string& name, Tensor value);
  // A value that belongs to the state but is not trained.
  Variable register_buffer(const std::string& name, Tensor value);
  // Constructs a child from the arguments.
  template <class M, class... Args>
  M& register_module(const std::string& name, Args&&... args) {
    return register_module(name, std::make_shared<M>(std::forward<Args>(args)...));
  }
  // Takes in one that was made elsewhere. It may be a child of other modules too, or this one's under other names: its
  // parameters are then shared.
  template <class M>
  M& register_module(const std::string& name, std::shared_ptr<M> child) {
    adopt(name, child);
    return *child;
  }

 private:
  friend class Layer;
  void adopt(const std::string& name, std::shared_ptr<Module> child);
  void check_name(const std::string& name) const;
  NamedVariables collect(bool parameters, bool buffers) const;
  static NamedVariables once(NamedVariables variables);
  StateDifference compare(const std::vector<StateKey>& state) const;
  const Module& root() const;
  bool is_within(const Module& other) const;
  bool is_trainable() const;

  struct Place {
    const Module* parent;
    std::string name;  // in the parent
  };
  NamedVariables parameters_, buffers_;
  std::vector<std::pair<std::string, std::shared_ptr<Module>>> children_;
  bool training_ = true;
  std::vector<Place> places_;  // in the order of registration
};

class Layer;
// The layers that this thread is calling: the innermost one, and from where it was called.
struct LayerCall {
  const Layer& layer;
  const LayerCall* caller;
  const Module& root;  // of the outermost layer
};
inline constinit thread_local const LayerCall* innermost_call = nullptr;

// While one lives, this thread's layers count as called from nowhere: for a forward() that uses layers of another module on
// purpose.
struct BorrowedLayers : Scoped<const LayerCall*> {
  BorrowedLayers() : Scoped(innermost_call, nullptr) {}
};

// A module that maps one value to one value.
class Layer : public Module {
 public:
  using BeforeHook = Variable(Layer& layer, const Variable& x);
  using AfterHook = Variable(Layer& layer, const Variable& x, const Variable& y);

  virtual Variable forward(const Variable& x) = 0;
  // forward; an error that comes out of it begins with the layer's path. The innermost layer called so is the one named.
  // asap::Error where gradients are recorded and a layer with trainable parameters is called within another that it was not
  // registered in, nor in any other part of that one's tree: no optimiser, file or to() would know those parameters.
  Variable operator()(const Variable& x);

  // Called by operator(), not by forward alone, before and after forward, as long as somebody holds the handle. What the hook
  // returns takes the place of x or y: a hook that only looks returns them.
  [[nodiscard]] HookHandle add_before_hook(std::function<BeforeHook> hook) { return before_.add(std::move(hook)); }
  [[nodiscard]] HookHandle add_after_hook(std::function<AfterHook> hook) { return after_.add(std::move(hook)); }

 private:
  void check_registered(const LayerCall& caller) const;

  Hooks<BeforeHook> before_;
  Hooks<AfterHook> after_;
};

// Modules of class M in a row, as children 0, 1, ... Base is what the list itself is.
template <class M = Layer, class Base = Module>
class ModuleList : public Base {
 public:
  // Constructs one at the end, or takes in one that was made elsewhere.
  template <class N = M, class... Args>
  N& add(Args&&... args) {
    return add(std::make_shared<N>(std::forward<Args>(args)...));
  }
  template <class N>
  N& add(std::shared_ptr<N> module) {
    N& reference = this->register_module(std::to_string(modules_.size()), module);
    modules_.push_back(std::move(module));
    return reference;
  }

  size_t size() const { return modules_.size(); }
  M& operator[](size_t i) const {
    ASAP_CHECK(i < size(), this->type_name(), ": expected an index below ", size(), ", got ", i);
    return *modules_[i];
  }
  // Over pointers: for (const auto& block : blocks) x = (*block)(x);
  auto begin() const { return modules_.begin(); }
  auto end() const { return modules_.end(); }

 private:
  std::vector<std::shared_ptr<M>> modules_;
};

// Layers run one after the other; parameterless ones are numbered too.
class Sequential : public ModuleList<Layer, Layer> {
 public:
  Variable forward(const Variable& x) override;
};

// y = x: where a layer is wanted, and nothing is to be done.
class Identity : public Layer {
 public:
  Variable forward(const Variable& x) override { return x; }
};

}  // namespace asap::nn
