// The classes and functions that a .pth file's pickle may name, and what calling each makes. Nothing is ever called: a
// name decides how its arguments are read. Used by pth_pickle.cpp.
#pragma once

#include "nn/pth_pickle.h"

namespace asap::nn {

enum class PickleRole : uint8_t {
  dict,
  size,
  tensor,      // (storage, offset, sizes, strides, requires_grad, hooks, metadata)
  tensor_v3,   // the same with a dtype before the metadata; its storage has no type
  quantised,   // as tensor, with the quantiser behind the strides
  sparse,      // (layout, (indices ..., values, sizes, ...))
  nested,      // (buffer, sizes, strides, offsets)
  no_storage,  // (dtype, sizes, ...)
  wrapper,     // (class, dtype, sizes, ...)
  from_type,   // (one of those above, class, its arguments, state)
  first,       // its first argument, a tensor: (tensor, ...)
  storage,
  plain,
  opaque,  // every other
};

// By module.name, as "torch._utils._rebuild_tensor_v2".
PickleRole role_of(std::string_view name);

// torch.FloatStorage, torch.cuda.FloatStorage, torch.storage.UntypedStorage: FloatStorage, UntypedStorage; else "".
std::string_view torch_storage(std::string_view name);

// torch.float32: float32; else "".
std::string_view torch_constant(std::string_view name);

}  // namespace asap::nn
