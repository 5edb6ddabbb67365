// --ranks and --rank-timeout of the commands that several ranks can share. Sits on ranks/mpi.h and ranks/launch.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace asap::train {

void add_rank_flags(CLI::App& app);

// After parsing. With --ranks N, of a program that nothing launched: runs `arguments` as N ranks, and returns their exit code.
// UsageError for a command without these flags that was launched as several, and for another number of ranks than was launched.
std::optional<int> enter_ranks(const CLI::App& app, const std::vector<std::string>& arguments);

}  // namespace asap::train
