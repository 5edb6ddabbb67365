// Times every variant of every kernel on the large rows of the op table: shapes of the model, forward and gradients apart.
// Options beside Google Benchmark's (--benchmark_filter=REGEX, --benchmark_min_time=SECONDS, ...):
//   --threads=N     how many threads the kernels use
//   --verify_only   compare the variants, time nothing
// Exit status 1 if a variant gives wrong values or is faster than the machine can be.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>

#include "bench/op_timing.h"
#include "tensor/threads.h"

namespace {

using namespace asap;
using namespace asap::bench;

// f(row, slot, variant, device) for each variant of each large row's one slot.
template <class F>
void for_each_timing(const F& f) {
  for (const tests::OpCase& row : tests::op_cases()) {
    if (!row.large) continue;
    for (const Device device : {Device::cpu, Device::cuda}) {
      if (!is_available(device)) continue;
      for (const std::string& variant : row.slots[0]->variants(device)) f(row, *row.slots[0], variant, device);
    }
  }
}

int verify_all() {
  int wrong = 0;
  for_each_timing([&](const tests::OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device) {
    if (variant == "naive") return;
    try {
      const std::string verdict = verify(row, slot, variant, device);
      std::printf("%-45s %-12s %s\n", row.name.c_str(), variant.c_str(), verdict.empty() ? "does not take it" : verdict.c_str());
    } catch (const Error& error) {
      ++wrong;
      std::printf("WRONG %s\n", error.what());
    }
  });
  return wrong > 0;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  bool verify_only = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads=")) {
      set_num_threads(std::stoi(argument.substr(10)));
    } else if (argument == "--verify_only") {
      verify_only = true;
    } else {
      std::fprintf(stderr, "bench_ops: unknown option %s (options: --threads=N, --verify_only, Google Benchmark's)\n", argv[i]);
      return 2;
    }
  }
  if (verify_only) return verify_all();
  const MachinePeak peak = measure_machine_peak();
  std::printf("%s\n", peak.str().c_str());
  for_each_timing([&](const tests::OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device) {
    register_timing(row, slot, variant, device, peak);
  });
  return run_timings();
}
