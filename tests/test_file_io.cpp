// write_file on what lies about in a folder: links, pipes, modes, and folders that cannot be synced. test_safetensors.cpp
// has full disks.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <span>

#include "nn/file_io.h"
#include "tests/support/skip.h"
#include "tests/support/tiny_run.h"

using namespace asap;
using namespace asap::tests;
namespace fs = std::filesystem;

namespace {

int folder_sync_error = 0;  // what fsync below fails with on a folder; 0: nothing

}  // namespace

extern "C" int fsync(int file) {
  struct stat info {};
  if (folder_sync_error != 0 && ::fstat(file, &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = folder_sync_error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fsync, file));
}

namespace {

void write_bytes(const fs::path& file, const std::string& text) {
  const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  nn::write_file(file, {&bytes, 1});
}

mode_t mode_of(const fs::path& file) {
  struct stat info {};
  REQUIRE(stat(file.c_str(), &info) == 0);
  return info.st_mode & 07777;
}

}  // namespace

TEST_CASE("write_file: what lies beside the file is not touched, whatever it is") {
  ScratchFolder folder;
  const fs::path file = folder / "x.bin";
  REQUIRE(mkfifo((folder / "x.bin.tmp").c_str(), 0600) == 0);
  write_bytes(file, "one");
  CHECK(read_text(file) == "one");
  fs::remove(folder / "x.bin.tmp");
  write_text(folder / "other", "other");
  fs::create_hard_link(folder / "other", folder / "x.bin.tmp");
  write_bytes(file, "two");
  CHECK(read_text(file) == "two");
  CHECK(read_text(folder / "other") == "other");
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 3);
  write_bytes(folder / std::string(255, 'n'), "the longest name");
  ran();
}

TEST_CASE("write_file: a link stays and its file is written; modes are kept; a read-only file is refused") {
  ScratchFolder folder;
  fs::create_directories(folder / "far");
  const fs::path file = folder / "far" / "file", link = folder / "link";
  fs::create_symlink("far/file", link);
  fs::create_symlink(link, folder / "link to link");
  for (const fs::path& path : {link, folder / "link to link"}) {  // the first leads to no file yet
    write_bytes(path, path.filename().string());
    CHECK(read_text(file) == path.filename().string());
    CHECK(fs::is_symlink(path));
  }
  const mode_t mask = umask(027);
  write_bytes(folder / "new", "");
  umask(mask);
  CHECK(mode_of(folder / "new") == 0640);
  chmod(file.c_str(), 0604);
  write_bytes(link, "again");
  CHECK(mode_of(file) == 0604);
  chmod(file.c_str(), 0444);
  CHECK(error_of([&] { write_bytes(link, "refused"); }) == link.string() + ": cannot be written (it is read-only)");
  CHECK(read_text(file) == "again");
}

TEST_CASE("write_file: a folder that cannot be brought to the disk is an error, unless its file system never can") {
  ScratchFolder folder;
  folder_sync_error = EIO;
  const std::string error = error_of([&] { write_bytes(folder / "x", "x"); });
  folder_sync_error = EINVAL;
  const std::string none = error_of([&] { write_bytes(folder / "x", "x"); });
  folder_sync_error = 0;
  CHECK(error == folder.path().string() + ": cannot be brought to the disk (Input/output error)");
  CHECK(none == "");
}
