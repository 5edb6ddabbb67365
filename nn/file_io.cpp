// read_file and write_file over POSIX calls, so that every error keeps the system's reason. Declared in file_io.h.
#include "nn/file_io.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <utility>

namespace asap::nn {
namespace {

// A file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (is_open()) ::close(descriptor_);
  }
  bool is_open() const { return descriptor_ >= 0; }
  int get() const { return descriptor_; }
  // False leaves the reason in errno: some file systems report a full disk only here.
  bool close() { return ::close(std::exchange(descriptor_, -1)) == 0; }

 private:
  int descriptor_;
};

bool write_all(const Descriptor& file, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return true;
}

// Some file systems cannot sync a file or a folder: what was written is whole all the same.
bool sync(const Descriptor& file) { return ::fsync(file.get()) == 0 || errno == EINVAL || errno == ENOTSUP; }

// False leaves the reason in errno. A new file, whatever lies at `path`: nothing is followed or opened that was there.
bool write_and_sync(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces,
                    const struct stat* replaced) {
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
  if (!file.is_open()) return false;
  if (replaced) ::fchmod(file.get(), replaced->st_mode & 07777);  // where the file system has modes
  for (const auto& piece : pieces) {
    if (!write_all(file, piece)) return false;
  }
  return sync(file) && file.close();
}

// Where the bytes go: the end of a chain of symbolic links.
std::filesystem::path behind_links(std::filesystem::path path) {
  std::error_code ignored;
  for (int links = 0; links < 40 && std::filesystem::is_symlink(path, ignored); ++links)
    path = path.parent_path() / std::filesystem::read_symlink(path, ignored);  // an absolute one replaces the parent
  return path;
}

constexpr std::string_view kUnfinishedPrefix = ".asapnet-", kUnfinishedSuffix = ".tmp";

// A name in the same folder that no other process or thread writes at the same time, however long the file's own is.
std::filesystem::path unfinished_beside(const std::filesystem::path& path) {
  static std::atomic<int> count = 0;
  const std::string name = str(kUnfinishedPrefix, ::getpid(), '-', ++count, kUnfinishedSuffix);
  return path.parent_path() / name;
}

[[noreturn]] void fail_with_reason(const std::filesystem::path& path, const char* what, int reason) {
  fail(path.string(), ": cannot be ", what, " (", std::strerror(reason), ")");
}

// Makes the rename itself survive a crash. A folder that may be written but not read cannot be opened for that.
void sync_folder(const std::filesystem::path& path) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  const Descriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.is_open() && !sync(file)) fail_with_reason(folder, "brought to the disk", errno);
}

// A regular file, and its size.
struct OpenFile {
  explicit OpenFile(const std::filesystem::path& path)
      : descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {  // a pipe must not make us wait
    struct stat info {};
    if (!descriptor.is_open() || ::fstat(descriptor.get(), &info) != 0) fail_with_reason(path, "read", errno);
    ASAP_CHECK(!S_ISDIR(info.st_mode), path.string(), ": expected a file, found a folder");
    ASAP_CHECK(S_ISREG(info.st_mode), path.string(), ": expected a regular file, found a device or pipe");
    size = static_cast<size_t>(info.st_size);
  }
  int get() const { return descriptor.get(); }
  Descriptor descriptor;
  size_t size = 0;
};

}  // namespace

std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  const OpenFile file(path);
  std::vector<uint8_t> bytes;
  try {
    bytes.resize(file.size);
  } catch (const std::exception&) {  // std::bad_alloc or std::length_error
    fail(path.string(), ": its ", file.size, " bytes do not fit into memory");
  }
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::read(file.get(), bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_with_reason(path, "read", errno);
    ASAP_CHECK(count > 0, path.string(), ": expected ", bytes.size(), " bytes, but it ended after ", done);
    done += static_cast<size_t>(count);
  }
  return bytes;
}

MappedFile::MappedFile(const std::filesystem::path& path) {
  const OpenFile file(path);
  if (file.size == 0) return;  // which the system does not map
  void* memory = ::mmap(nullptr, file.size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) fail_with_reason(path, "read", errno);
  bytes_ = {static_cast<const uint8_t*>(memory), file.size};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

void MappedFile::let_go() const {
  if (!bytes_.empty()) ::madvise(const_cast<uint8_t*>(bytes_.data()), bytes_.size(), MADV_DONTNEED);
}

void write_file(const std::filesystem::path& path, std::span<const std::span<const uint8_t>> pieces) {
  const std::filesystem::path target = behind_links(path), unfinished = unfinished_beside(target);
  struct stat info {};
  const bool replaces = ::stat(target.c_str(), &info) == 0;
  ASAP_CHECK(!replaces || S_ISREG(info.st_mode), path.string(),
             ": cannot be written (expected a regular file or none, found a folder or device)");
  ASAP_CHECK(!replaces || ((info.st_mode & 0222) != 0 && ::access(target.c_str(), W_OK) == 0), path.string(),
             ": cannot be written (it is read-only)");
  ::unlink(unfinished.c_str());  // of a killed process that had this one's number
  if (!write_and_sync(unfinished, pieces, replaces ? &info : nullptr) ||
      std::rename(unfinished.c_str(), target.c_str()) != 0) {
    const int reason = errno;
    ::unlink(unfinished.c_str());
    fail_with_reason(path, "written", reason);
  }
  sync_folder(target);
}

bool is_unfinished(const std::string& name) {
  return name.starts_with(kUnfinishedPrefix) && name.ends_with(kUnfinishedSuffix);
}

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 100;
  std::string result;
  for (const char c : text.substr(0, kLongest)) result += c >= ' ' && c <= '~' ? c : '?';
  if (text.size() > kLongest) result += "...";
  return result;
}

}  // namespace asap::nn
