// Timing of single calls, and the line that tells them. Declared in one_row.h.
#include "bench/one_row.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>

namespace asap::bench {

std::vector<double> time_calls(int calls, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  constexpr size_t kMost = 1000;
  constexpr double kAtLeastMs = 250, kLongMs = 5000;
  const auto timed = [&] {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  };
  if (timed() < kLongMs) work();
  std::vector<double> milliseconds;
  double total = 0;
  while (milliseconds.size() < static_cast<size_t>(calls) || (total < kAtLeastMs && milliseconds.size() < kMost)) {
    milliseconds.push_back(timed());
    total += milliseconds.back();
  }
  return milliseconds;
}

void print_row(const std::string& row, const std::vector<double>& milliseconds, nlohmann::json more) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);  // ru_maxrss: KiB on Linux
  more["row"] = row;
  more["ms"] = milliseconds;
  more["process_MiB"] = usage.ru_maxrss / 1024;
  std::printf("%s\n", more.dump().c_str());
}

}  // namespace asap::bench
