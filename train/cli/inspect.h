// Looking into weight files and runs. Sits on architecture.h.
#pragma once

#include <filesystem>
#include <ostream>

namespace asap::train {

// Prints keys, the file's types, shapes, totals and the configuration of a weight file, or of every file of a run's latest
// checkpoint. What cannot be used (a dtype that no tensor of ours has, NaN) is told beside its tensor.
void inspect(const std::filesystem::path& path, std::ostream& out);

}  // namespace asap::train
