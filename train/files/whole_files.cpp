// Whole files for the training room: nn/file_io.h does the work, and here an empty file is an error too. See whole_files.h.
#include "train/files/whole_files.h"

#include "nn/file_io.h"

namespace asap::train {

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
}

void make_folder(const std::filesystem::path& folder) {
  if (folder.empty()) return;  // the one we are in
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  ASAP_CHECK(!error, folder.string(), ": the folder cannot be created (", error.message(), ")");
}

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::vector<uint8_t> bytes = nn::read_file(path);
  ASAP_CHECK(!bytes.empty(), path.string(), ": expected data, found an empty file");
  return bytes;
}

std::string file_text(const std::filesystem::path& path) {
  const std::vector<uint8_t> bytes = nn::read_file(path);
  return {bytes.begin(), bytes.end()};
}

void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes) { nn::write_file(path, {&bytes, 1}); }

void write_file(const std::filesystem::path& path, std::string_view text) {
  write_file(path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

}  // namespace asap::train
