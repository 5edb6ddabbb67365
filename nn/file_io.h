// Bytes in and out for the checkpoint formats, and the helpers that make their errors name file and tensor.
// Nothing here knows a format. Next: safetensors.h, pth.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/error.h"

namespace asap::nn {

// The whole file (an empty one gives no bytes). asap::Error naming the file: missing, unreadable, not a regular file,
// larger than memory, or shorter than the file system said.
std::vector<uint8_t> read_file(const std::filesystem::path& path);

// The same bytes where they lie: the system reads a page when it is looked at first. The file must not be shortened
// meanwhile, which would end the program (SIGBUS); write_file, which puts a new one in its place, does no harm.
class MappedFile {
 public:
  // asap::Error as read_file, but for the last.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return bytes_; }
  // Gives back the memory of the pages looked at so far; they can be looked at again.
  void let_go() const;

 private:
  std::span<const uint8_t> bytes_;
};

// Writes the pieces one after another into a new file beside PATH, syncs it to the disk, renames it to PATH and syncs
// the folder: a reader, or whoever comes after a crash, finds the old file or the whole new one. A symbolic link stays
// and the file it leads to is written; a file that is replaced hands on its mode, a new one has the umask's. asap::Error
// naming the file and the system's reason (no such folder, no permission, a read-only file, full disk); the old file is
// then untouched and the new one gone.
void write_file(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces);

// Whether a file name is that of a file which write_file was writing: what a killed process leaves behind.
bool is_unfinished(const std::string& name);

// Text from a file, fit for an error message: printable ASCII, at most 100 characters.
std::string printable(std::string_view text);

// Runs f; an asap::Error it throws comes out with "prefix: " in front.
template <class F>
decltype(auto) with_prefix(const std::string& prefix, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    fail(prefix, ": ", error.what());
  }
}

}  // namespace asap::nn
