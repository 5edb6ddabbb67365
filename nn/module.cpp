// The module tree: names, state, modes. Declared in module.h.
#include "nn/module.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <typeinfo>
#include <unordered_map>
#include <unordered_set>

#include "autograd/anomaly.h"
#include "nn/file_io.h"
#include "nn/tensor_reader.h"
#include "tensor/trace.h"

namespace asap::nn {
namespace {

bool may_be_missing(const std::string& name) {
  constexpr std::string_view kOptional = "num_batches_tracked";
  return name == kOptional || name.ends_with("." + std::string(kOptional));
}

std::vector<StateKey> keys_of(const StateDict& state) {
  std::vector<StateKey> keys;
  for (const auto& [name, tensor] : state) {
    keys.push_back({name, {tensor.shape().begin(), tensor.shape().end()}, is_floating(tensor.dtype())});
  }
  return keys;
}

}  // namespace

// A child that lives on elsewhere has one parent less.
Module::~Module() {
  for (const auto& [name, child] : children_) {
    std::erase_if(child->places_, [this](const Place& place) { return place.parent == this; });
  }
}

void Module::check_name(const std::string& name) const {
  auto taken = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(), [&](const auto& item) { return item.first == name; });
  };
  ASAP_CHECK(!name.empty() && name.find('.') == std::string::npos, "Module: '", name,
             "' is not a name (empty, or has a dot)");
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

void Module::adopt(const std::string& name, std::shared_ptr<Module> child) {
  check_name(name);
  ASAP_CHECK(child, "Module: expected a module for '", name, "', got none");
  ASAP_CHECK(!is_within(*child), "Module: '", name, "' would be a child of itself");
  child->places_.push_back({this, name});
  children_.emplace_back(name, std::move(child));
}

std::string Module::path() const {
  if (places_.empty()) return "";
  const auto& [parent, name] = places_.front();
  const std::string above = parent->path();
  return above.empty() ? name : above + "." + name;
}

const Module& Module::root() const { return places_.empty() ? *this : places_.front().parent->root(); }

bool Module::is_within(const Module& other) const {
  return this == &other || std::any_of(places_.begin(), places_.end(),
                                       [&](const Place& place) { return place.parent->is_within(other); });
}

bool Module::is_trainable() const {
  return std::any_of(parameters_.begin(), parameters_.end(),
                     [](const auto& item) { return item.second.requires_grad(); }) ||
         std::any_of(children_.begin(), children_.end(), [](const auto& item) { return item.second->is_trainable(); });
}

std::string Module::type_name() const {
  const char* mangled = typeid(*this).name();
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(mangled, nullptr, nullptr, nullptr), std::free);
  std::string name = text ? text.get() : mangled;
  for (const std::string_view space : {"asap::nn::", "asap::", "(anonymous namespace)::"}) {
    for (size_t at = 0; (at = name.find(space)) != std::string::npos;) name.erase(at, space.size());
  }
  return name;
}

void Module::apply(const std::function<void(const std::string&, Module&)>& f) {
  f("", *this);
  for (const auto& item : children_) {
    item.second->apply(
        [&](const std::string& path, Module& module) { f(item.first + (path.empty() ? "" : "." + path), module); });
  }
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

NamedVariables Module::once(NamedVariables variables) {
  std::unordered_set<const VariableImpl*> seen;
  std::erase_if(variables, [&](const auto& item) { return !seen.insert(item.second.impl().get()).second; });
  return variables;
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

StateDifference Module::compare(const std::vector<StateKey>& state) const {
  std::unordered_map<std::string, const StateKey*> found;
  for (const StateKey& key : state) found[key.name] = &key;
  std::unordered_set<std::string> expected;
  StateDifference difference;
  const auto note = [&](std::vector<std::string>& list, const std::string& key, const auto&... line) {
    list.push_back(key);
    difference.text += str("\n  ", line...);
  };
  for (const auto& [name, variable] : named_state()) {
    expected.insert(name);
    const auto place = found.find(name);
    if (place == found.end()) {
      if (!may_be_missing(name)) note(difference.missing, name, "missing: ", name, " ", variable.shape());
      continue;
    }
    const StateKey& key = *place->second;
    if (!std::equal(key.sizes.begin(), key.sizes.end(), variable.shape().begin(), variable.shape().end())) {
      note(difference.misfits, name, "wrong shape: ", name, " is ", shape_text(key.sizes), ", the model has ",
           variable.shape());
    } else if (key.floating != is_floating(variable.dtype())) {
      note(difference.misfits, name, "wrong type: ", name, " holds ", key.floating ? "fractions" : "integers",
           ", the model has ", variable.dtype());
    }
  }
  for (const StateKey& key : state) {
    if (expected.contains(key.name)) continue;
    note(difference.unexpected, key.name, "unexpected: ", printable(key.name), " ", shape_text(key.sizes));
  }
  return difference;
}

void Module::check_state(const std::vector<StateKey>& state, const std::string& source) const {
  const StateDifference difference = compare(state);
  ASAP_CHECK(difference.empty(), source, ": the keys do not fit the model:", difference);
}

void Module::load_state_dict(const StateDict& state, const std::string& source) {
  check_state(keys_of(state), source);
  for (auto& [name, variable] : named_state()) {
    Tensor value = variable.value();  // shares the parameter's memory
    if (!state.contains(name)) value.fill(0);
  }
  load_matching(state);
}

StateDifference Module::load_matching(const StateDict& state) {
  const StateDifference difference = compare(keys_of(state));
  for (auto& [name, variable] : named_state()) {
    const Tensor* found = state.find(name);
    const bool misfit =
        std::find(difference.misfits.begin(), difference.misfits.end(), name) != difference.misfits.end();
    Tensor value = variable.value();
    if (found && !misfit) value.copy_from(*found);
  }
  return difference;
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

// Called in no other: for a layer that nothing called, the tree is its own.
void Layer::check_registered(const LayerCall& caller) const {
  if (!grad_enabled() || is_within(caller.root) || !is_trainable()) return;
  const auto named = [](const Module& module) {
    const std::string path = module.path();
    return module.type_name() + (path.empty() ? "" : " '" + path + "'");
  };
  fail(named(*this), " has trainable parameters and is called in ", named(caller.layer),
       ", but is not registered in its tree: make it with register_module, or, if it is another module's on purpose, "
       "call it while"
       " a BorrowedLayers lives");
}

Variable Layer::operator()(const Variable& x) {
  if (innermost_call) check_registered(*innermost_call);
  const LayerCall call{*this, innermost_call, innermost_call ? innermost_call->root : root()};
  const Scoped<const LayerCall*> within(innermost_call, &call);
  std::optional<Scoped<std::string>> named;
  if (detects_anomaly) named.emplace(anomaly_layer, path());
  const Traced traced(TraceKind::layer, [this] {
    const std::string where = path();
    return TraceLabel{where.empty() ? type_name() : where};
  });
  try {
    Variable input = x;
    before_.each([&](const auto& hook) { input = hook(*this, input); });
    Variable output = forward(input);
    after_.each([&](const auto& hook) { output = hook(*this, input, output); });
    return output;
  } catch (const Error& error) {
    // Not of a layer inside this one, which said so; nor one that callers tell apart by its type.
    const std::string where = path();
    if (where.empty() || typeid(error) != typeid(Error)) throw;
    throw LayerError(where + ": " + error.what());
  }
}

Variable Sequential::forward(const Variable& x) {
  Variable y = x;
  for (const auto& layer : *this) y = (*layer)(y);
  return y;
}

}  // namespace asap::nn
