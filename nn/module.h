// Module: a tree of named parameters, buffers and child modules. Names join with '.', in order of registration, so they
// are PyTorch's state_dict keys and official files load unchanged. A Layer is a Module with forward(x) -> y.
// Next: layers.h, optim.h, state_dict.h.
#pragma once

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

class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // A module's own come first, then its children's, prefixed with the child's name.
  NamedVariables named_parameters() const { return collect(true, false); }
  NamedVariables named_buffers() const { return collect(false, true); }
  NamedVariables named_state() const { return collect(true, true); }  // both
  std::vector<Variable> parameters() const;
  int64_t parameter_count() const;

  // Parameters and buffers by PyTorch's keys; the tensors share memory with the module.
  StateDict state_dict() const;
  // Copies values in, converting floating types. Strict: throws one Error that lists every missing, unexpected and
  // mis-shaped key, and then changes nothing. `source` names the file in the error. A missing num_batches_tracked
  // counts as 0: PyTorch before 0.4.1 wrote none.
  void load_state_dict(const StateDict& state, const std::string& source = "state_dict");

  // The check alone.
  void check_state(const std::vector<StateKey>& state, const std::string& source) const;

  // Training mode is what batch norm and spectral norm ask for; on at construction.
  void train(bool on = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }
  // Its name from the root on, as in the keys of the root's state: "model.3"; empty for the root.
  std::string path() const;

  void zero_grad();
  void set_requires_grad(bool on);
  // Replace every parameter and buffer by a copy on that device, or (floating ones) of that type.
  void to(Device device);
  void to(DType dtype);

 protected:
  Variable register_parameter(const std::string& name, Tensor value);
  // A value that belongs to the state but is not trained.
  Variable register_buffer(const std::string& name, Tensor value);
  // Constructs a child from the arguments and owns it.
  template <class M, class... Args>
  M& register_module(const std::string& name, Args&&... args) {
    auto child = std::make_unique<M>(std::forward<Args>(args)...);
    M& reference = *child;
    adopt(name, std::move(child));
    return reference;
  }

 private:
  void adopt(const std::string& name, std::unique_ptr<Module> child);
  void check_name(const std::string& name) const;
  NamedVariables collect(bool parameters, bool buffers) const;

  NamedVariables parameters_, buffers_;
  std::vector<std::pair<std::string, std::unique_ptr<Module>>> children_;
  bool training_ = true;
  const Module* parent_ = nullptr;
  std::string name_;  // in the parent
};

// A module that maps one value to one value.
class Layer : public Module {
 public:
  virtual Variable forward(const Variable& x) = 0;
  // forward; an error that comes out of it begins with the layer's path. The innermost layer called so is the one named.
  Variable operator()(const Variable& x);
};

// Layers run one after the other; children are numbered 0, 1, ..., parameterless ones included.
class Sequential : public Layer {
 public:
  template <class L, class... Args>
  L& add(Args&&... args) {
    L& layer = register_module<L>(std::to_string(layers_.size()), std::forward<Args>(args)...);
    layers_.push_back(&layer);
    return layer;
  }
  Variable forward(const Variable& x) override;

 private:
  std::vector<Layer*> layers_;
};

}  // namespace asap::nn
