// A file that grows at its end, by whole pieces: what does not fit the disk now is written when it does.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace asap::train {

class AppendedFile {
 public:
  // Opens the file, or makes it. asap::Error naming the file and the system's reason.
  explicit AppendedFile(const std::filesystem::path& path);
  ~AppendedFile();  // does not flush
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Remembers a piece for flush().
  void append(std::string_view piece) { pending_ += piece; }
  // Writes what is remembered. asap::Error naming the file and the system's reason; the next call then goes on where this
  // one stopped.
  void flush();
  // The same, and returns when everything is on the disk.
  void sync();

 private:
  std::filesystem::path path_;
  std::string pending_;  // not yet in the file
  int file_ = -1;
};

}  // namespace asap::train
