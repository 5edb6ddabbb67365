// The program `asapnet` as a process of its own, for what a process does but once: signals, descriptors, ending badly.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/tiny_run.h"

namespace asap::tests {

// Waits until `done`; fails the test after two minutes.
inline void wait_until(const std::string& what, const std::function<bool()>& done) {
  for (int i = 0; i < 12'000 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CAPTURE(what);
  REQUIRE(done());
}

class Program {
 public:
  // Starts it with its standard streams in files of `folder`, but for those that `change` closes or replaces.
  Program(const std::filesystem::path& folder, std::vector<std::string> arguments,
          const std::function<void(posix_spawn_file_actions_t*)>& change = {})
      : out_(folder / "stdout.txt"), error_(folder / "stderr.txt") {
    arguments.insert(arguments.begin(), ASAPNET_PROGRAM);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, error_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
    if (change) change(&actions);
    REQUIRE(posix_spawn(&id_, ASAPNET_PROGRAM, &actions, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() {
    if (id_ <= 0) return;
    kill(id_, SIGKILL);
    waitpid(id_, nullptr, 0);
  }

  pid_t id() const { return id_; }
  void send(int signal_number) const { REQUIRE(kill(id_, signal_number) == 0); }
  // The exit code; 128 + the signal that killed it.
  int wait() {
    int status = 0;
    REQUIRE(waitpid(std::exchange(id_, 0), &status, 0) > 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string out() const { return read_text(out_); }
  std::string error() const { return read_text(error_); }

 private:
  std::filesystem::path out_, error_;
  pid_t id_ = 0;
};

}  // namespace asap::tests
