// read_file and write_file over POSIX calls, so that every error keeps the system's reason. See files.h.
#include "train/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "tensor/error.h"

namespace asap::train {
namespace {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int close() { return ::close(std::exchange(fd_, -1)); }  // some file systems report a full disk only here

 private:
  int fd_;
};

// Writes everything; false leaves the reason in errno.
bool write_all(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) return false;
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += size_t(n);
  }
  return file.close() == 0;
}

}  // namespace

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(path.string(), ": cannot be read (", std::strerror(errno), ")");
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) fail(path.string(), ": cannot be read (", std::strerror(errno), ")");
  if (S_ISDIR(info.st_mode)) fail(path.string(), ": expected a file, found a folder");
  if (!S_ISREG(info.st_mode)) fail(path.string(), ": expected a regular file, found a device or pipe");
  if (info.st_size == 0) fail(path.string(), ": expected data, found an empty file");
  std::vector<uint8_t> bytes(static_cast<size_t>(info.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path.string(), ": cannot be read (", std::strerror(errno), ")");
    if (n == 0) fail(path.string(), ": expected ", bytes.size(), " bytes, but it ended after ", done, " while being read");
    done += size_t(n);
  }
  return bytes;
}

void write_file(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  const std::filesystem::path partial = path.string() + ".tmp";
  if (write_all(partial, bytes) && std::rename(partial.c_str(), path.c_str()) == 0) return;
  const int reason = errno;
  ::unlink(partial.c_str());
  fail(path.string(), ": cannot be written (", std::strerror(reason), ")");
}

}  // namespace asap::train
