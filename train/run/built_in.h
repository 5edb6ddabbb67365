// The model that the program brings with it: a small one of synthetic facades, so that there is something to try at once. Made by
// scripts/train-built-in and compiled in (cmake/embed.cmake); docs/training.md tells its settings. Used by checkpoint.cpp,
// generate.cpp and inspect.cpp.
#pragma once

#include <filesystem>

#include "nn/checkpoint_file.h"

namespace asap::train {

// What --weights calls it. A file of that name is ./built-in.
inline constexpr const char* kBuiltIn = "built-in";

bool is_built_in(const std::filesystem::path& weights);

// A checkpoint's file, or the built-in weights. asap::Error as CheckpointFile.
nn::CheckpointFile open_weights(const std::filesystem::path& weights);

}  // namespace asap::train
