// Flags of the ranks. Declared in rank_flags.h.
#include "train/cli/rank_flags.h"

#include <CLI/CLI.hpp>

#include "train/cli/cli.h"
#include "train/ranks/launch.h"
#include "train/ranks/mpi.h"

namespace asap::train {
namespace {

constexpr const char* kRanks = "--ranks";

std::vector<std::string> without_ranks(const std::vector<std::string>& arguments) {
  std::vector<std::string> left;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == kRanks) {
      ++i;  // its number
    } else if (!arguments[i].starts_with(std::string(kRanks) + "=")) {
      left.push_back(arguments[i]);
    }
  }
  return left;
}

}  // namespace

void add_rank_flags(CLI::App& app) {
  const std::string help = "processes of this machine that share the work; of several: mpirun ... asapnet " + app.get_name();
  app.add_option(kRanks, help)  // const: CLI11 would take a variable for the option's target
      ->type_name("N")
      ->default_str("1")
      ->check(CLI::Range(1, 1024));
  app.add_option("--rank-timeout", "how long one of them may let the others wait")
      ->type_name("SECONDS")
      ->default_str("600")
      ->check(CLI::PositiveNumber);
}

std::optional<int> enter_ranks(const CLI::App& app, const std::vector<std::string>& arguments) {
  const int size = program_ranks().size();
  const CLI::Option* ranks = app.get_option_no_throw(kRanks);
  if (!ranks) {
    if (size > 1) throw UsageError(str("asapnet ", app.get_name(), " is the work of one process, and ", size, " were launched"));
    return {};
  }
  if (const CLI::Option* timeout = app.get_option("--rank-timeout"); timeout->count() > 0) set_rank_timeout(timeout->as<double>());
  if (ranks->count() == 0) return {};
  const int wanted = ranks->as<int>();
  if (launched() && wanted != size) throw UsageError(str("--ranks ", wanted, " does not go with the ", size, " that were launched"));
  if (launched() || wanted == 1) return {};
  ASAP_CHECK(mpi_is_built_in(), "--ranks ", wanted, " needs MPI (libopenmpi-dev), and this asapnet was built without");
  return run_ranks(wanted, without_ranks(arguments));
}

}  // namespace asap::train
