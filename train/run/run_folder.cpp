// The lock of a run and the checks of its folder. Declared in run_folder.h.
#include "train/run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <sstream>
#include <utility>

#include "nn/file_io.h"
#include "train/files/user_text.h"
#include "train/files/whole_files.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"
#include "train/run/event_file.h"

namespace asap::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = "train.lock";

std::string host() {
  char name[HOST_NAME_MAX + 1] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

// "process 4711", with the machine if it is another one; what the lock's file says.
std::string holder(int file) {
  char text[HOST_NAME_MAX + 64] = "";
  const ssize_t size = pread(file, text, sizeof text - 1, 0);
  std::istringstream words(size > 0 ? std::string(text, static_cast<size_t>(size)) : "");
  std::string process, machine;
  if (!(words >> process)) return "another process";
  words >> machine;
  return "process " + nn::printable(process) + (machine == host() ? "" : " on " + nn::printable(machine));
}

bool is_same_file(int file, const fs::path& path) {
  struct stat opened {
  }, named{};
  return fstat(file, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
         opened.st_ino == named.st_ino;
}

// A run's own config.json, to the last byte: it holds nothing but what a new run writes again.
bool is_own_config(const fs::path& path) {
  try {
    const std::string text = file_text(path);
    Options options;
    options_from_json(text, path.string(), options);
    return options_to_json(options) == text;
  } catch (const Error&) {
    return false;
  }
}

// The first thing in a folder but what a killed process left unfinished.
fs::path first_in(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (!is_unfinished_checkpoint(name) && !nn::is_unfinished(name)) return entry.path();
  }
  return {};
}

// What a new run would replace or mix with its own.
fs::path first_in_the_way(const fs::path& run) {
  std::error_code ignored;
  for (const fs::path& folder : {run / "checkpoints", run / "samples"}) {
    const fs::path found = fs::is_directory(folder, ignored) ? first_in(folder) : folder;
    if (!found.empty() && is_there(found)) return found;
  }
  if (is_there(run / "report.html")) return run / "report.html";
  if (is_own_config(run / "config.json")) return {};
  for (const char* file : {"config.json", "log.jsonl"}) {
    if (is_there(run / file)) return run / file;
  }
  const std::vector<fs::path> events = event_files(run);
  return events.empty() ? fs::path() : events.front();
}

}  // namespace

RunLock::RunLock(const fs::path& run) : run_(run), path_(run / kLock) { take(); }

void RunLock::take() {
  for (;;) {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    ASAP_CHECK(file_ >= 0, path_.string(), ": cannot be written (", std::strerror(errno), ")");
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      const std::string process = holder(file_);
      ::close(std::exchange(file_, -1));
      ASAP_CHECK(reason != EWOULDBLOCK, "train: ", run_.string(), " is being trained by ", process);
      warn(str(path_.string(), ": cannot be locked (", std::strerror(reason),
               "); make sure that no other process trains in ", run_.string()));
      ::unlink(path_.c_str());
      works_ = false;
      return;
    }
    if (is_same_file(file_, path_)) break;
    ::close(std::exchange(file_, -1));  // its owner has just removed it
  }
  const std::string text = str(getpid(), " ", host(), "\n");
  if (ftruncate(file_, 0) != 0 || pwrite(file_, text.data(), text.size(), 0) < 0) {
    // A full disk: the lock holds, and only its owner's name is missing.
  }
}

void RunLock::keep() {
  if (!works_ || is_same_file(file_, path_)) return;
  if (file_ >= 0) ::close(std::exchange(file_, -1));
  take();
}

RunLock::~RunLock() {
  if (file_ < 0) return;
  if (is_same_file(file_, path_)) ::unlink(path_.c_str());
  ::close(file_);
}

void check_not_in_use(const fs::path& run) {
  if (is_there(run / kLock)) const RunLock taken(run);
}

void check_free_for_new_run(const fs::path& run) {
  std::error_code error;
  const fs::file_type type = fs::status(run, error).type();
  if (type == fs::file_type::not_found) return;
  ASAP_CHECK(type != fs::file_type::none, "train: ", run.string(), " cannot be the folder of a run (", error.message(),
             ")");
  ASAP_CHECK(type == fs::file_type::directory, "train: ", run.string(),
             " is a file; --out needs the folder of a new run");
  const FoundCheckpoint checkpoint = find_checkpoint(run);
  ASAP_CHECK(checkpoint.folder.empty(), "train: ", run.string(), " already holds a training run",
             checkpoint.note.empty() ? "" : " (" + checkpoint.note + ")", "; continue it with --resume ",
             shell_quoted(run.string()), ", or choose another --out");
  const fs::path found = first_in_the_way(run);
  ASAP_CHECK(found.empty(), "train: ", found.string(),
             " is there already, and a new run would write over it or beside it; choose another --out");
}

void remove_unfinished_files(const fs::path& run) {
  remove_unfinished_checkpoints(run);
  std::error_code ignored;
  for (const fs::path& folder : {run, run / "samples"}) {
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (nn::is_unfinished(entry.path().filename().string())) fs::remove(entry.path(), ignored);
    }
  }
}

}  // namespace asap::train
