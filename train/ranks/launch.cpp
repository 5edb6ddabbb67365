// A parent for mpirun: signals in, standard error out. Declared in launch.h.
#include "train/ranks/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <regex>
#include <string_view>

#include "tensor/error.h"
#include "train/files/user_text.h"
#include "train/ranks/ranks.h"

namespace asap::train {
namespace {

constexpr const char* kMark = "ASAP_STARTED_BY_RUN_RANKS";
constexpr int kNoMpirun = 127, kInterrupted = 130;
static_assert(kAsInterrupt == SIGUSR1 && kAsTerminate == SIGUSR2);

volatile sig_atomic_t launcher = 0, passed_on = 0;

void pass_on(int signal_number) {
  const int reason = errno;
  passed_on = 1;
  if (launcher > 0) kill(launcher, signal_number == SIGINT ? kAsInterrupt : kAsTerminate);
  errno = reason;
}

// The three signals go to the ranks while it lives.
class PassOn {
 public:
  PassOn() {
    struct sigaction action {};
    action.sa_handler = pass_on;
    action.sa_flags = SA_RESTART;
    passed_on = 0;
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &before_[i]);
    if (before_[2].sa_handler == SIG_IGN) sigaction(SIGHUP, &before_[2], nullptr);  // nohup
  }
  ~PassOn() {
    for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before_[i], nullptr);
    launcher = 0;
  }
  PassOn(const PassOn&) = delete;
  PassOn& operator=(const PassOn&) = delete;

 private:
  static constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, 3> before_{};
};

// What comes out of mpirun's standard error: the ranks' own words pass at once; mpirun's, between lines of dashes or behind "[host:process]",
// are kept.
class Listener {
 public:
  void hear(std::string_view text) {
    for (const char c : text) {
      line_ += c;
      const bool ends = c == '\n';
      if (!passing_ && (in_block_ || is_of_mpirun(line_))) {
        if (ends) keep();
        continue;
      }
      std::cerr << line_;
      line_.clear();
      passing_ = !ends;
    }
    std::cerr << std::flush;
  }
  // The texts between the lines of dashes.
  const std::vector<std::string>& blocks() const { return blocks_; }
  // What MPI's library said of its own troubles.
  const std::string& troubles() const { return troubles_; }

 private:
  static constexpr std::string_view kDashes = "--------------------", kPrefix = "mpirun: ";  // "mpirun: Forwarding signal 10 to job"
  // As far as it has come.
  bool is_of_mpirun(std::string_view line) const {
    const auto begins = [&](std::string_view mark) { return line.starts_with(mark.substr(0, line.size())); };
    return begins(kDashes) || begins(kPrefix) || begins(library_);
  }
  void keep() {
    if (line_.starts_with(kDashes)) {
      in_block_ = !in_block_;
      if (in_block_) blocks_.emplace_back();
    } else if (in_block_) {
      blocks_.back() += line_;
    } else if (line_.starts_with(library_)) {
      troubles_ += line_;
    }
    line_.clear();
  }

  const std::string library_ = "[" + host_name() + ":";
  std::vector<std::string> blocks_;
  std::string line_, troubles_;
  bool in_block_ = false, passing_ = false;
};

// What mpirun says of an end that the ranks themselves have told of.
bool is_known(const std::string& block) {
  for (const char* words : {"Primary job  terminated normally", "exited with non-zero status", "MPI_ABORT was invoked"}) {
    if (block.find(words) != std::string::npos) return true;
  }
  return false;
}

[[noreturn]] void become_mpirun(int count, std::vector<std::string> arguments, int standard_error) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string(), number = std::to_string(count);
  std::vector<std::string> words{"mpirun", "-n", number, "--host", "localhost:" + number, "--bind-to", "none", "--stdin", "none"};
  // Within this machine: shared memory, and the loopback for what mpirun tells the ranks.
  for (const char* pair : {"pml ob1", "btl self,vader", "oob_tcp_if_include lo"}) {
    const std::string text = pair;
    const size_t space = text.find(' ');
    words.insert(words.end(), {"--mca", text.substr(0, space), text.substr(space + 1)});
  }
  words.push_back(program);
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  setenv(kMark, "1", 1);
  setenv("ASAP_COLUMNS", std::to_string(terminal_columns(STDOUT_FILENO)).c_str(), 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  setpgid(0, 0);  // Ctrl-C is the parent's to pass on
  dup2(standard_error, STDERR_FILENO);
  execvp("mpirun", argv.data());
  _exit(kNoMpirun);
}

}  // namespace

bool started_by_run_ranks() { return std::getenv(kMark) != nullptr; }

int run_ranks(int count, const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  ASAP_CHECK(pipe2(ends.data(), O_CLOEXEC) == 0, "--ranks: no pipe to mpirun");
  std::cout.flush();
  int status = 0;
  Listener listener;
  {
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t child = fork();
    if (child == 0) {
      sigprocmask(SIG_SETMASK, &before, nullptr);
      become_mpirun(count, arguments, ends[1]);
    }
    launcher = child;
    const PassOn signals;
    sigprocmask(SIG_SETMASK, &before, nullptr);
    close(ends[1]);
    std::array<char, 4096> text{};
    for (ssize_t got = 0; (got = read(ends[0], text.data(), text.size())) > 0;) listener.hear({text.data(), static_cast<size_t>(got)});
    close(ends[0]);
    ASAP_CHECK(child > 0 && waitpid(child, &status, 0) == child, "--ranks: mpirun cannot be started");
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ASAP_CHECK(code != kNoMpirun, "--ranks ", count, " needs the program mpirun of Open MPI (openmpi-bin), and there is none on the PATH");
  if (passed_on && code > 128) return kInterrupted;
  const std::regex killed("process rank ([0-9]+) .* on node (\\S+) exited on signal ([0-9]+) \\(([^)]*)\\)");
  for (const std::string& block : listener.blocks()) {
    std::smatch parts;
    if (std::regex_search(block, parts, killed)) {
      fail("rank ", parts.str(1), " (host ", parts.str(2), ") was killed by signal ", parts.str(3), " (", parts.str(4),
           "), and with it the job ends; what was saved last stays");
    }
    if (!is_known(block)) std::cerr << block << std::flush;
  }
  return code > 128 && code != kInterrupted ? 1 : code;  // mpirun's codes of signals, which killed ranks after the first sentence
}

}  // namespace asap::train
