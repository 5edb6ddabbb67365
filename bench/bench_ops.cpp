// Times every variant of every kernel on the large rows of the op table: shapes of the model, forward and gradients apart.
// Options beside Google Benchmark's (--benchmark_filter=REGEX, --benchmark_min_time=SECONDS, ...):
//   --threads=N     how many threads the kernels use
//   --device=NAME   cpu (default) or cuda: whose kernels
//   --verify_only   compare the variants, time nothing
//   --machine       measure the machine alone, and print it as a line of JSON
//   --row=NAME      time that row's calls one by one and print a line of JSON (one_row.h), as scripts/bench asks for it; with
//                   --variant=NAME (default: the slot's choice), --dtype=f32|bf16, --calls=N, --verify
// --benchmark_format=json has the medians alone, --benchmark_out=FILE mean, median and deviation of each row.
// Exit status 1 if a variant gives wrong values or is faster than the machine can be.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>

#include "bench/one_row.h"
#include "bench/op_timing.h"
#include "bench/yardsticks/yardsticks.h"
#include "tensor/cpu/isa.h"
#include "tensor/threads.h"

namespace {

using namespace asap;
using namespace asap::bench;

#if defined(__clang__)
constexpr const char* kCompiler = "Clang " __clang_version__;
#else
constexpr const char* kCompiler = "GCC " __VERSION__;
#endif

// f(row, slot, variant) for each variant of each large row's one slot.
template <class F>
void for_each_timing(Device device, const F& f) {
  for (const tests::OpCase& row : tests::op_cases()) {
    if (!row.large) continue;
    for (const std::string& variant : row.slots[0]->variants(device)) f(row, *row.slots[0], variant);
  }
}

int verify_all(Device device) {
  int wrong = 0;
  for_each_timing(device, [&](const tests::OpCase& row, KernelSlotBase& slot, const std::string& variant) {
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

nlohmann::json describe_machine() {
  return {{"isa", cpu::name(cpu::isa())}, {"threads", num_threads()}, {"compiler", kCompiler}, {"peak", nlohmann::json::parse(measure_machine_peak().json())}};
}

// What --row times.
struct OneTiming {
  std::string row, variant;
  DType dtype = DType::f32;
  int calls = 9;
  bool verified = false;
};

int print_one(const OneTiming& wanted) {
  for (const tests::OpCase& row : tests::op_cases()) {
    if (!row.large || row.name != wanted.row) continue;
    try {
      cpu::isa();  // throws where ASAP_ISA names one that is not here, also for kernels that do not ask
      print_timing(row, wanted.variant, wanted.dtype, wanted.calls, wanted.verified);
      return 0;
    } catch (const Error& error) {
      std::fprintf(stderr, "bench_ops: %s\n", error.what());
      return 1;
    }
  }
  std::fprintf(stderr, "bench_ops: there is no large row %s\n", wanted.row.c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  cuda::register_yardsticks();
  benchmark::Initialize(&argc, argv);
  bool verify_only = false, machine = false;
  OneTiming one;
  Device device = Device::cpu;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--threads=")) {
      set_num_threads(std::stoi(argument.substr(10)));
    } else if (argument == "--device=cuda" || argument == "--device=cpu") {
      device = argument == "--device=cuda" ? Device::cuda : Device::cpu;
    } else if (argument == "--verify_only") {
      verify_only = true;
    } else if (argument == "--machine") {
      machine = true;
    } else if (argument.starts_with("--row=")) {
      one.row = argument.substr(6);
    } else if (argument.starts_with("--variant=")) {
      one.variant = argument.substr(10);
    } else if (argument == "--dtype=f32" || argument == "--dtype=bf16") {
      one.dtype = argument == "--dtype=f32" ? DType::f32 : DType::bf16;
    } else if (argument.starts_with("--calls=")) {
      one.calls = std::stoi(argument.substr(8));
    } else if (argument == "--verify") {
      one.verified = true;
    } else {
      std::fprintf(stderr,
                   "bench_ops: unknown option %s (options: --threads=N, --device=cpu|cuda, --verify_only, --machine, --row=NAME, "
                   "--variant=NAME, --dtype=f32|bf16, --calls=N, --verify, Google Benchmark's)\n",
                   argv[i]);
      return 2;
    }
  }
  if (!is_available(device)) {
    std::fprintf(stderr, "bench_ops: cuda is not available: %s\n", unavailable_reason(device).c_str());
    return 1;
  }
  if (verify_only) return verify_all(device);
  if (machine) return std::printf("%s\n", describe_machine().dump().c_str()) < 0;
  if (!one.row.empty()) return print_one(one);
  const MachinePeak peak = device == Device::cpu ? measure_machine_peak() : measure_card_peak();
  benchmark::AddCustomContext("peak", peak.str());
  for_each_timing(device, [&](const tests::OpCase& row, KernelSlotBase& slot, const std::string& variant) {
    register_timing(row, slot, variant, device, peak);
  });
  return run_timings();
}
