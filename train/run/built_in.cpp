// Declared in built_in.h.
#include "train/run/built_in.h"

#include <string_view>

namespace asap::train {

std::string_view built_in_model();  // the file's bytes (cmake/embed.cmake)

bool is_built_in(const std::filesystem::path& weights) { return weights == kBuiltIn; }

nn::CheckpointFile open_weights(const std::filesystem::path& weights) {
  const std::string_view bytes = built_in_model();
  return is_built_in(weights) ? nn::CheckpointFile({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, kBuiltIn)
                              : nn::CheckpointFile(weights);
}

}  // namespace asap::train
