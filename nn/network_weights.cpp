// Finding a network under whatever names. Declared in network_weights.h.
#include "nn/network_weights.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "nn/file_dtype.h"
#include "nn/file_io.h"

namespace asap::nn {
namespace {

// Wrappers that PyTorch puts around a module, at any depth.
bool is_wrapper(std::string_view component) { return component == "module" || component == "_orig_mod"; }

std::vector<std::string_view> components_of(std::string_view name) {
  std::vector<std::string_view> components;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    components.push_back(name.substr(begin, end - begin));
    begin = end + 1;
  }
  return components;
}

std::string without_wrappers(std::string_view name) {
  std::string result;
  for (const std::string_view component : components_of(name)) {
    if (is_wrapper(component)) continue;
    if (!result.empty()) result += '.';
    result += component;
  }
  return result;
}

// An optimiser's numbers carry the names of the weights they are about.
bool is_optimiser_state(std::string_view name) {
  for (const std::string_view ending : {".exp_avg", ".exp_avg_sq", ".max_exp_avg_sq", ".momentum_buffer"}) {
    if (name.ends_with(ending)) return true;
  }
  return std::ranges::any_of(components_of(name), [](std::string_view c) {
    return c.starts_with("optim") || c == "exp_avg" || c == "exp_avg_sq" || c == "momentum_buffer";
  });
}

// What stands before the signature, in whole components.
std::optional<std::string> prefix_of(const std::string& name, const std::string& signature) {
  if (is_optimiser_state(name)) return std::nullopt;
  const std::string_view first = std::string_view(signature).substr(0, signature.find('.'));
  for (const std::string_view component : components_of(name)) {
    if (component != first) continue;
    const auto place = static_cast<size_t>(component.data() - name.data());
    if (without_wrappers(std::string_view(name).substr(place)).starts_with(signature)) return name.substr(0, place);
  }
  return std::nullopt;
}

// "params_ema.", "G_EMA.module.": an exponential moving average of the weights, which is what pictures are made with.
bool is_averaged(std::string prefix) {
  std::ranges::transform(prefix, prefix.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; });
  return std::ranges::any_of(components_of(prefix), [](std::string_view c) {
    return c == "ema" || c.starts_with("ema_") || c.ends_with("_ema");
  });
}

std::string list_of(const std::vector<std::string>& names) {
  constexpr size_t kMost = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += (i ? ", '" : "'") + printable(names[i]) + "'";
  }
  return names.size() > kMost ? text + ", ..." : text;
}

// torch.nn.utils.parametrizations.spectral_norm keeps under X.parametrizations.weight what torch.nn.utils.spectral_norm,
// and we, keep beside X: original weight, u, v.
std::string plain_name(const std::string& name, bool& was_parametrized) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kSpectralNorm = {
      {{"parametrizations.weight.original", "weight_orig"},
       {"parametrizations.weight.0._u", "weight_u"},
       {"parametrizations.weight.0._v", "weight_v"}}};
  for (const auto& [parametrized, plain] : kSpectralNorm) {
    if (!name.ends_with(parametrized)) continue;
    was_parametrized = true;
    return name.substr(0, name.size() - parametrized.size()) + std::string(plain);
  }
  return name;
}

// Which of several prefixes to take; nothing if they are equally good.
std::optional<std::string> choose(const std::vector<std::string>& prefixes) {
  std::vector<std::string> averaged;
  std::ranges::copy_if(prefixes, std::back_inserter(averaged), is_averaged);
  if (averaged.size() == 1) return averaged[0];
  const std::vector<std::string>& among = averaged.empty() ? prefixes : averaged;
  if (among.size() == 1) return among[0];
  for (const std::string_view usual :
       {"", "params", "state_dict", "model_state_dict", "model", "netG", "netD", "generator", "discriminator"}) {
    std::vector<std::string> matching;
    std::ranges::copy_if(among, std::back_inserter(matching), [&](const std::string& prefix) {
      return components_of(without_wrappers(prefix)).front() == usual;
    });
    if (matching.size() == 1) return matching[0];
    if (matching.size() > 1) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

bool holds_network(const CheckpointFile& file, const std::string& signature) {
  return std::ranges::any_of(file.contents().tensors(),
                             [&](const TensorInfo& tensor) { return prefix_of(tensor.name, signature).has_value(); });
}

NetworkWeights::NetworkWeights(CheckpointFile& file, const std::string& signature) : file_(file) {
  std::vector<std::string> prefixes;
  std::set<std::string> seen;
  for (const TensorInfo& tensor : file.contents().tensors()) {
    const auto prefix = prefix_of(tensor.name, signature);
    if (prefix && seen.insert(*prefix).second) prefixes.push_back(*prefix);
  }
  if (prefixes.empty()) {
    tensors_ = file.contents().tensors();
    for (size_t i = 0; i < tensors_.size(); ++i) indices_.push_back(i);
    return;
  }
  constexpr size_t kMostPrefixes = 100;
  const auto chosen = prefixes.size() <= kMostPrefixes ? choose(prefixes) : std::nullopt;
  ASAP_CHECK(chosen, file.path().string(), ": holds the network more than once, under ", list_of(prefixes),
             "; save the one to use alone");
  std::erase(prefixes, *chosen);
  take(*chosen, prefixes);
}

void NetworkWeights::take(const std::string& prefix, const std::vector<std::string>& others) {
  const std::vector<TensorInfo>& all = file_.contents().tensors();
  bool unwrapped = false, parametrized = false;
  std::set<std::string> names;
  std::vector<std::string> strays;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string& name = all[i].name;
    const bool is_of_another = std::ranges::any_of(
        others, [&](const std::string& other) { return other.size() > prefix.size() && name.starts_with(other); });
    if (!name.starts_with(prefix) || is_of_another) continue;
    const std::string rest = name.substr(prefix.size()), bare = without_wrappers(rest);
    TensorInfo own = all[i];
    own.name = plain_name(bare, parametrized);
    if (own.name.find('.') == std::string::npos) {
      strays.push_back(own.name);
      continue;
    }
    unwrapped = unwrapped || bare != rest;
    ASAP_CHECK(names.insert(own.name).second, file_.path().string(), ": two tensors are named '", printable(own.name),
               "', one of them as '", printable(name), "'");
    tensors_.push_back(std::move(own));
    indices_.push_back(i);
  }
  if (!prefix.empty()) notes_.push_back("took the prefix '" + printable(prefix) + "' off");
  if (unwrapped) notes_.push_back("took 'module.' and '_orig_mod.' out of the names");
  if (parametrized)
    notes_.push_back("read parametrizations.weight as spectral norm's weight_orig, weight_u and weight_v");
  if (!strays.empty()) notes_.push_back("left " + list_of(strays) + " alone, which are no part of the network");
  if (!others.empty()) notes_.push_back("left the same network under " + list_of(others) + " alone");
}

StateDict NetworkWeights::read(const std::vector<std::string>& beginnings) const {
  std::vector<size_t> wanted;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto begins = [&](const std::string& beginning) { return tensors_[i].name.starts_with(beginning); };
    if (std::ranges::any_of(beginnings, begins)) wanted.push_back(i);
  }
  std::vector<size_t> in_file;
  for (const size_t i : wanted) in_file.push_back(indices_[i]);
  return with_prefix(file_.path().string(), [&] {
    const StateDict stored = file_.contents().read(in_file);
    StateDict state;
    for (const size_t i : wanted) {
      state.set(tensors_[i].name, *stored.find(file_.contents().tensors()[indices_[i]].name));
    }
    return state;
  });
}

void NetworkWeights::load_into(Module& network, const Form& form) const {
  const std::string source = file_.path().string();
  std::map<std::string, size_t> names;  // -> index in the file
  std::vector<StateKey> keys;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const TensorInfo& tensor = tensors_[i];
    const auto dtype = file_dtype_of_torch(tensor.dtype);
    const bool integers = dtype && is_readable(*dtype) && !is_floating(tensor_dtype(*dtype));
    keys.push_back({tensor.name, tensor.sizes, !integers});
    names[tensor.name] = indices_[i];
  }
  for (const auto& [name, variable] : network.named_parameters()) {
    if (!name.ends_with(".weight_orig") || names.contains(name)) continue;
    const std::string removed = name.substr(0, name.size() - std::string_view("_orig").size());
    ASAP_CHECK(!names.contains(removed), source, ": spectral norm was removed from these weights ('", removed,
               "' stands where weight_orig, weight_u and weight_v should); give a file saved before that");
  }
  network.check_state(keys, source);
  NamedVariables state = network.named_state();
  std::vector<Tensor> values;
  for (const auto& [name, variable] : state) {
    const auto place = names.find(name);
    // What check_state lets be missing is zero, as in Module::load_state_dict.
    const Tensor value = place == names.end() ? Tensor::zeros(variable.shape())
                                              : with_prefix(source, [&] { return file_.contents().read(place->second); });
    check_finite(value, name, source);
    values.push_back(form(value.to(variable.dtype()).to(variable.device()).to(variable.value().layout())));
    file_.let_go();
    release_cached_memory(Device::cpu);
  }
  for (size_t i = 0; i < state.size(); ++i) state[i].second.set_value(values[i]);
}

}  // namespace asap::nn
