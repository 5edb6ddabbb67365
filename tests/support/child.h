// Work in a child process, for what a process does but once: meeting its card, reading its environment, ending badly.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <string>

namespace asap::tests {

// What `work` wrote to stderr and the text of its error, from a child whose environment has `variable` set.
inline std::string in_child(const char* variable, const char* value, const std::function<void()>& work,
                            int exit_status = 0) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  std::cout.flush();
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    setenv(variable, value, 1);
    dup2(ends[1], STDERR_FILENO);
    try {
      work();
    } catch (const std::exception& error) {
      std::cerr << error.what();
    }
    std::cerr.flush();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(got));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == exit_status);
  return text;
}

}  // namespace asap::tests
