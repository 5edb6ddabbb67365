// One row in a process of its own, as scripts/bench asks for it: calls timed one by one, told as one line of JSON. The peers'
// programs (peers/bench_cpu.py) time and tell in the same way.
// Used by bench_ops.cpp and bench_asapnet.cpp (--row).
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace asap::bench {

// Milliseconds of each call, after two that are not timed (one where it takes over five seconds): `calls`, and more, up to a
// thousand, until a quarter of a second is over.
std::vector<double> time_calls(int calls, const std::function<void()>& work);

// {"row": ..., "ms": [...], "process_MiB": peak of the process so far, ...} with the members of `more`.
void print_row(const std::string& row, const std::vector<double>& milliseconds, nlohmann::json more);

}  // namespace asap::bench
