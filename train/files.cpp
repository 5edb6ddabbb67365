// Whole files for the training room: nn/file_io.h does the work, and here an empty file is an error too. See files.h.
#include "train/files.h"

#include "nn/file_io.h"

namespace asap::train {

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::vector<uint8_t> bytes = nn::read_file(path);
  ASAP_CHECK(!bytes.empty(), path.string(), ": expected data, found an empty file");
  return bytes;
}

void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes) { nn::write_file(path, {&bytes, 1}); }

}  // namespace asap::train
