// Timing of single calls, and the line that tells them. Declared in one_row.h.
#include "bench/one_row.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>

#include "tensor/error.h"

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

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return result + '"';
}

void print_row(const std::string& row, const std::vector<double>& milliseconds, const std::string& more) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);  // ru_maxrss: KiB on Linux
  std::string list;
  for (const double ms : milliseconds) list += str(list.empty() ? "" : ", ", ms);
  std::printf("{\"row\": %s, \"ms\": [%s], \"process_MiB\": %ld%s%s}\n", quoted(row).c_str(), list.c_str(),
              usage.ru_maxrss / 1024, more.empty() ? "" : ", ", more.c_str());
}

}  // namespace asap::bench
