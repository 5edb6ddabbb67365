// The program as tests meet it: run in this process, with what it printed and its exit code.
#pragma once

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "train/cli/cli.h"

namespace asap::tests {

struct Result {
  int code = 0;
  std::string out, error;
};

// Runs the program in this process.
inline Result run(const std::vector<std::string>& arguments) {
  std::ostringstream out, error;
  std::streambuf* old_out = std::cout.rdbuf(out.rdbuf());
  std::streambuf* old_error = std::cerr.rdbuf(error.rdbuf());
  Result result;
  result.code = train::run_command_line(arguments);
  std::cout.rdbuf(old_out);
  std::cerr.rdbuf(old_error);
  result.out = out.str();
  result.error = error.str();
  return result;
}

}  // namespace asap::tests
