// NumPy's .npy file format, writing only: float32 arrays for looking at with other tools.
// Source: NumPy Enhancement Proposal 1, format version 1.0. Sits on whole_files.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

namespace asap::train {

// Writes `values` (C order) as a float32 array of the given shape, renamed into place; an empty shape is a scalar.
// asap::Error if the shape does not hold values.size() numbers or the file cannot be written.
void write_npy(const std::filesystem::path& path, std::span<const float> values, std::span<const int64_t> shape);

}  // namespace asap::train
