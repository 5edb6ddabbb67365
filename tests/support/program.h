// The program as tests meet it: run in this process, with what it printed and its exit code; and a run to use it on.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>

#include "tests/support/tiny_run.h"
#include "train/checkpoint.h"
#include "train/cli.h"
#include "train/config_json.h"

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

// Fails the test unless the program ends with `code` and one line of complaint (keys that do not fit: one more a key)
// that holds every part.
inline void check_refused(const std::vector<std::string>& arguments, int code, const std::vector<std::string>& parts) {
  const Result result = run(arguments);
  CAPTURE(result.error);
  CHECK(result.code == code);
  CHECK(result.error.starts_with("asapnet: "));
  if (!contains(result.error, "keys do not fit") && !contains(result.error, "could not be used"))
    CHECK(std::count(result.error.begin(), result.error.end(), '\n') == 1);
  for (const std::string& part : parts) {
    CAPTURE(part);
    CHECK(contains(result.error, part));
  }
}

// Data, a config file, and a run of 2 steps made with them.
struct Workshop {
  ScratchFolder folder;
  std::filesystem::path data = make_tiny_data(folder / "data"), config = folder / "tiny.json", trained = folder / "run";

  Workshop() {
    write_text(config, train::options_to_json(tiny_options(data)));
    const Result result = run({"train", "--config", config.string(), "--out", trained.string(), "--steps", "2"});
    CAPTURE(result.error);
    REQUIRE(result.code == 0);
  }
  std::filesystem::path label(const std::string& name = "cmp_b0001") const { return data / "base" / (name + ".png"); }
  std::filesystem::path generator() const { return train::latest_checkpoint(trained) / "G.safetensors"; }
};

inline std::string text(const std::filesystem::path& path) { return path.string(); }

}  // namespace asap::tests
