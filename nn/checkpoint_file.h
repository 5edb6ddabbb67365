// A checkpoint of either format, told apart by its content, not by its name. Next: module.h (load_state_dict).
#pragma once

#include <filesystem>

#include "nn/state_dict.h"

namespace asap::nn {

// The tensors of a safetensors file (safetensors.h) or a PyTorch .pth file (pth.h). asap::Error naming the file: as
// those two, and "not a checkpoint" when it is neither.
StateDict read_state_dict(const std::filesystem::path& path);

}  // namespace asap::nn
