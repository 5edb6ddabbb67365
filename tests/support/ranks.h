// Tests that start the program on several ranks: whether this build can, and what came of a run. Next: process.h.
#pragma once

#include "tests/support/process.h"
#include "train/ranks/mpi.h"

namespace asap::tests {

// False where there is no MPI: the test is then skipped, and says so.
inline bool can_run_ranks() {
  if (train::mpi_is_built_in()) return ran(), true;
  skip("this build has no MPI");
  return false;
}

struct Ended {
  int code = 0;
  std::string out, error;
};

// The program, to its end, with its standard streams in files of `folder`.
inline Ended run_to_end(const std::filesystem::path& folder, const std::vector<std::string>& arguments) {
  Program program(folder, arguments);
  const int code = program.wait();
  return {code, program.out(), program.error()};
}

}  // namespace asap::tests
