// Starting, reading and ending a child. Declared in child.h.
#include "bench/kit/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "tensor/error.h"

extern char** environ;

namespace asap::bench {
namespace {

pid_t start(std::vector<std::string> arguments, int report) {
  arguments.insert(arguments.begin(), "asapnet");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, report, kReportDescriptor);
  pid_t child = 0;
  const int error = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ASAP_CHECK(error == 0, "bench: cannot start a process for the kernels: ", std::strerror(error));
  return child;
}

std::string how_it_ended(int status) {
  if (WIFSIGNALED(status)) return str("crashed (", strsignal(WTERMSIG(status)), ")");
  return str("ended with ", WEXITSTATUS(status));
}

}  // namespace

ChildEnd run_child(const std::vector<std::string>& arguments, int seconds, const std::function<void(const std::string&)>& line) {
  int ends[2];
  ASAP_CHECK(pipe2(ends, O_CLOEXEC) == 0, "bench: ", std::strerror(errno));
  const pid_t child = start(arguments, ends[1]);
  close(ends[1]);
  bool late = false;
  std::string text;
  char buffer[4096];
  for (;;) {
    pollfd ready{.fd = ends[0], .events = POLLIN, .revents = 0};
    const int polled = poll(&ready, 1, seconds * 1000);
    if (polled < 0 && errno == EINTR) continue;
    late = polled == 0;
    const ssize_t got = late ? 0 : read(ends[0], buffer, sizeof buffer);
    if (got <= 0) break;
    text.append(buffer, static_cast<size_t>(got));
    for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) line(text.substr(0, end));
  }
  close(ends[0]);
  if (late) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (late) return {false, str("did not end within ", seconds, " s")};
  return {WIFEXITED(status) && WEXITSTATUS(status) == 0, how_it_ended(status)};
}

void report_line(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(kReportDescriptor, text.data() + at, text.size() - at);
    if (written < 0 && errno != EINTR) fail("bench: the parent does not listen: ", std::strerror(errno));
    if (written > 0) at += static_cast<size_t>(written);
  }
}

}  // namespace asap::bench
