// The module tree: names, state, modes. Declared in module.h.
#include "nn/module.h"

#include <algorithm>
#include <string_view>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>

#include "nn/file_io.h"
#include "nn/tensor_reader.h"

namespace asap::nn {
namespace {

bool may_be_missing(const std::string& name) {
  constexpr std::string_view kOptional = "num_batches_tracked";
  return name == kOptional || name.ends_with("." + std::string(kOptional));
}

}  // namespace

void Module::check_name(const std::string& name) const {
  auto taken = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](const auto& item) { return item.first == name; });
  };
  ASAP_CHECK(!name.empty() && name.find('.') == std::string::npos, "Module: '", name, "' is not a name (empty, or has a dot)");
  ASAP_CHECK(!taken(parameters_) && !taken(buffers_) && !taken(children_), "Module: the name '", name, "' is taken");
}

Variable Module::register_parameter(const std::string& name, Tensor value) {
  check_name(name);
  parameters_.emplace_back(name, Variable(std::move(value), true));
  return parameters_.back().second;
}

Variable Module::register_buffer(const std::string& name, Tensor value) {
  check_name(name);
  buffers_.emplace_back(name, Variable(std::move(value)));
  return buffers_.back().second;
}

void Module::adopt(const std::string& name, std::unique_ptr<Module> child) {
  check_name(name);
  child->parent_ = this;
  child->name_ = name;
  children_.emplace_back(name, std::move(child));
}

std::string Module::path() const {
  const std::string above = parent_ ? parent_->path() : "";
  return above.empty() ? name_ : above + "." + name_;
}

NamedVariables Module::collect(bool parameters, bool buffers) const {
  NamedVariables all;
  if (parameters) all = parameters_;
  if (buffers) all.insert(all.end(), buffers_.begin(), buffers_.end());
  for (const auto& [name, child] : children_) {
    for (auto& [below, variable] : child->collect(parameters, buffers)) all.emplace_back(name + "." + below, variable);
  }
  return all;
}

std::vector<Variable> Module::parameters() const {
  std::vector<Variable> all;
  for (auto& [name, variable] : named_parameters()) all.push_back(variable);
  return all;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const Variable& parameter : parameters()) count += parameter.numel();
  return count;
}

StateDict Module::state_dict() const {
  StateDict state;
  for (const auto& [name, variable] : named_state()) state.set(name, variable.value());
  return state;
}

void Module::check_state(const std::vector<StateKey>& state, const std::string& source) const {
  std::unordered_map<std::string, const StateKey*> found;
  for (const StateKey& key : state) found[key.name] = &key;
  std::unordered_set<std::string> expected;
  std::string problems;
  for (const auto& [name, variable] : named_state()) {
    expected.insert(name);
    const auto place = found.find(name);
    if (place == found.end()) {
      if (!may_be_missing(name)) problems += str("\n  missing: ", name, " ", variable.shape());
      continue;
    }
    const StateKey& key = *place->second;
    if (!std::equal(key.sizes.begin(), key.sizes.end(), variable.shape().begin(), variable.shape().end())) {
      problems += str("\n  wrong shape: ", name, " is ", shape_text(key.sizes), ", the model has ", variable.shape());
    } else if (key.floating != is_floating(variable.dtype())) {
      problems += str("\n  wrong type: ", name, " holds ", key.floating ? "fractions" : "integers", ", the model has ",
                      variable.dtype());
    }
  }
  for (const StateKey& key : state) {
    if (!expected.contains(key.name))
      problems += str("\n  unexpected: ", printable(key.name), " ", shape_text(key.sizes));
  }
  ASAP_CHECK(problems.empty(), source, ": the keys do not fit the model:", problems);
}

void Module::load_state_dict(const StateDict& state, const std::string& source) {
  std::vector<StateKey> keys;
  for (const auto& [name, tensor] : state) {
    keys.push_back({name, {tensor.shape().begin(), tensor.shape().end()}, is_floating(tensor.dtype())});
  }
  check_state(keys, source);
  for (auto& [name, variable] : named_state()) {
    Tensor value = variable.value();  // shares the parameter's memory
    const Tensor* found = state.find(name);
    value.copy_from(found ? *found : Tensor::zeros(variable.shape(), variable.dtype()));
  }
}

void Module::train(bool on) {
  training_ = on;
  for (auto& [name, child] : children_) child->train(on);
}

void Module::zero_grad() {
  for (auto& [name, parameter] : named_parameters()) parameter.zero_grad();
}

void Module::set_requires_grad(bool on) {
  for (auto& [name, parameter] : named_parameters()) parameter.set_requires_grad(on);
}

void Module::to(Device device) {
  for (auto& [name, variable] : named_state()) variable.set_value(variable.value().to(device));
}

void Module::to(DType dtype) {
  ASAP_CHECK(is_floating(dtype), "Module::to: expected a floating type, got ", dtype);
  for (auto& [name, variable] : named_state()) {
    if (is_floating(variable.dtype())) variable.set_value(variable.value().to(dtype));
  }
}

namespace {
class LayerError final : public Error {
  using Error::Error;
};
}  // namespace

Variable Layer::operator()(const Variable& x) {
  try {
    return forward(x);
  } catch (const Error& error) {
    // Not of a layer inside this one, which said so; nor one that callers tell apart by its type.
    const std::string where = path();
    if (where.empty() || typeid(error) != typeid(Error)) throw;
    throw LayerError(where + ": " + error.what());
  }
}

Variable Sequential::forward(const Variable& x) {
  Variable y = x;
  for (Layer* layer : layers_) y = (*layer)(y);
  return y;
}

}  // namespace asap::nn
