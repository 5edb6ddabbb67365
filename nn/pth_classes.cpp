// The table of known names. Declared in pth_classes.h.
#include "nn/pth_classes.h"

#include <algorithm>

namespace asap::nn {
namespace {

constexpr PickleClass kClasses[] = {
    {"collections.OrderedDict", PickleRole::dict},
    {"collections.Counter", PickleRole::dict},
    {"collections.defaultdict", PickleRole::dict},
    {"torch.Size", PickleRole::size},
    {"torch._utils._rebuild_tensor", PickleRole::tensor},
    {"torch._utils._rebuild_tensor_v2", PickleRole::tensor},
    {"torch._utils._rebuild_tensor_v3", PickleRole::tensor_v3},
    {"torch._utils._rebuild_qtensor", PickleRole::quantised},
    {"torch._utils._rebuild_sparse_tensor", PickleRole::sparse},
    {"torch._utils._rebuild_sparse_csr_tensor", PickleRole::sparse},
    {"torch._utils._rebuild_nested_tensor", PickleRole::nested},
    {"torch._utils._rebuild_meta_tensor_no_storage", PickleRole::no_storage},
    {"torch._utils._rebuild_wrapper_subclass", PickleRole::wrapper},
    {"torch._utils._rebuild_device_tensor_from_cpu_tensor", PickleRole::first},
    {"torch._utils._rebuild_parameter", PickleRole::first},
    {"torch._utils._rebuild_parameter_with_state", PickleRole::first},
    {"torch.nn.parameter.Parameter", PickleRole::first},
    {"torch._tensor._rebuild_from_type_v2", PickleRole::from_type},
    {"torch.device", PickleRole::plain},
    {"torch.Tensor", PickleRole::plain},
    {"torch.serialization._get_layout", PickleRole::plain},
    {"_codecs.encode", PickleRole::plain},
};

// Python's own types whose values hold no tensors that anybody would look for; Python 2 spelled the module otherwise.
constexpr std::string_view kPlainBuiltins[] = {"set",   "frozenset", "bytes", "bytearray", "complex", "slice",
                                               "range", "xrange",    "int",   "float",     "object"};

}  // namespace

std::string_view torch_storage(std::string_view name) {
  for (const std::string_view module : {"torch.cuda.", "torch.storage.", "torch."}) {
    if (name.starts_with(module) && name.ends_with("Storage")) {
      const std::string_view rest = name.substr(module.size());
      return rest.find('.') == std::string_view::npos ? rest : "";
    }
  }
  return "";
}

std::string_view torch_constant(std::string_view name) {
  const std::string_view rest = name.starts_with("torch.") ? name.substr(std::string_view("torch.").size()) : "";
  return rest.find('.') == std::string_view::npos ? rest : "";
}

PickleRole role_of(std::string_view name) {
  for (const PickleClass& known : kClasses) {
    if (name == known.name) return known.role;
  }
  for (const std::string_view module : {"builtins.", "__builtin__."}) {
    if (!name.starts_with(module)) continue;
    const std::string_view type = name.substr(module.size());
    if (std::ranges::find(kPlainBuiltins, type) != std::end(kPlainBuiltins)) return PickleRole::plain;
  }
  if (!torch_storage(name).empty()) return PickleRole::storage;
  return file_dtype_of_torch(torch_constant(name)) ? PickleRole::plain : PickleRole::opaque;
}

}  // namespace asap::nn
