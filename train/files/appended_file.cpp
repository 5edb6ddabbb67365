// Appending to a file. Declared in appended_file.h.
#include "train/files/appended_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tensor/error.h"

namespace asap::train {

AppendedFile::AppendedFile(const std::filesystem::path& path) : path_(path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  ASAP_CHECK(file_ >= 0, path.string(), ": cannot be opened for writing (", std::strerror(errno), ")");
}

AppendedFile::~AppendedFile() { ::close(file_); }

void AppendedFile::flush() {
  if (pending_.empty()) return;
  const ssize_t written = ::write(file_, pending_.data(), pending_.size());
  const int reason = written < 0 ? errno : ENOSPC;  // what a short write means here
  if (written > 0) pending_.erase(0, static_cast<size_t>(written));
  ASAP_CHECK(pending_.empty(), path_.string(), ": cannot be written (", std::strerror(reason), ")");
}

void AppendedFile::sync() {
  flush();
  ASAP_CHECK(::fsync(file_) == 0, path_.string(), ": cannot be written (", std::strerror(errno), ")");
}

}  // namespace asap::train
