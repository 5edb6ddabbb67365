// Looking into weight files and runs (inspect), and turning .pth into .safetensors (convert). Sits on architecture.h.
#pragma once

#include <filesystem>
#include <ostream>

namespace asap::train {

// Prints keys, shapes, types, totals and the configuration of a weight file, or of every file of a run's latest
// checkpoint.
void inspect(const std::filesystem::path& path, std::ostream& out);

// Reads a checkpoint of either format and writes it as safetensors with equal keys and values.
void convert(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace asap::train
