// A run to use the program on, and what it refuses. Sits on run_program.h.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>

#include "tests/support/run_program.h"
#include "tests/support/tiny_run.h"
#include "train/options/config_json.h"
#include "train/run/checkpoint.h"

namespace asap::tests {

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
