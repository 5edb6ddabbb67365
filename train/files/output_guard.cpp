// Declared in output_guard.h.
#include "train/files/output_guard.h"

#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "tensor/error.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

std::optional<std::pair<uint64_t, uint64_t>> identity(const fs::path& file) {
  struct stat status {};
  if (stat(file.c_str(), &status) != 0) return std::nullopt;
  return std::pair<uint64_t, uint64_t>{status.st_dev, status.st_ino};
}

}  // namespace

void OutputGuard::protect(const fs::path& file, const std::string& what) {
  if (file.empty()) return;
  if (const auto id = identity(file)) files_.emplace(*id, Protected{file, what});
}

void OutputGuard::check(const fs::path& output, const std::string& flag) const {
  const auto id = identity(output);
  if (!id) return;
  const auto found = files_.find(*id);
  if (found != files_.end()) {
    const bool same = output.lexically_normal() == found->second.file.lexically_normal();
    fail(output.string(), same ? "" : str(" (", found->second.file.string(), ")"), " is ", found->second.what,
         "; choose another ", flag);
  }
  std::error_code ignored;
  ASAP_CHECK(!fs::is_directory(output, ignored), output.string(),
             ": a folder of that name is in the way; choose another ", flag);
}

fs::path output_path(const fs::path& out, const std::string& name, const std::string& tail) {
  const fs::path below = name + tail;
  ASAP_CHECK(!name.empty() && below.is_relative() && std::find(below.begin(), below.end(), "..") == below.end(),
             "the name '", name, "' leads outside --out ", out.string());
  return out / below;
}

}  // namespace asap::train
