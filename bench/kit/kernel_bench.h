// `asapnet bench`: verifies the variants of a slot on the table of op cases, then times them in turns, with kernels of a kernel
// library (tensor/kernel_library.h) among them. The kernels run in children of the program: one that crashes or hangs is told of by
// name, the rest goes on. Next: bench_report.h for what is made of the numbers.
#pragma once

#include <string>
#include <vector>

#include "bench/machine_peak.h"
#include "tensor/dtype.h"

namespace asap::bench {

struct KernelBenchOptions {
  std::vector<std::string> libraries;  // shared objects
  std::vector<std::string> slots;      // empty: those that the libraries add to
  std::vector<std::string> variants;   // empty: all
  std::vector<std::string> shapes;     // timed instead of the table's large rows
  std::string rows;                    // only rows whose name contains it
  Device device = Device::cpu;
  DType dtype = DType::f32;            // of what is timed
  int threads = 0;                     // 0: as many as the library takes by itself
  int rounds = 15;
  int patience = 120;  // seconds for one comparison or timed call: a kernel that takes longer hangs
  bool verify_only = false, warm = false;
};

double median(std::vector<double> samples);  // the upper one of an even number; there must be one

struct VariantTiming {
  std::string slot, row, variant;
  bool added = false;          // by a library
  bool approximate = false;    // it rounds what it multiplies (_tf32, _bf16)
  bool of_bf16 = false;        // numbers, given or rounded
  std::vector<double> seconds = {};  // a call each, rounds in turns
  double flops = 0, bytes = 0, roofline_seconds = 0;
  double median() const { return bench::median(seconds); }
};

struct KernelBenchResult {
  std::vector<VariantTiming> timings;
  std::vector<std::string> failures;  // a sentence each
  MachinePeak peak;                   // measured where something was timed
};

// Prints what it does as it goes. asap::Error for unknown slots, variants, rows.
KernelBenchResult bench_kernels(const KernelBenchOptions& options);

// A child's work: what --worker names. `from`: the item to begin with; `without`: variants to leave out.
struct KernelBenchWork {
  std::string stage;  // list, verify, time
  int from = 0;
  std::vector<std::string> without = {};
};
void work_for_bench(const KernelBenchOptions& options, const KernelBenchWork& work);
// The options as a child's command line takes them.
std::vector<std::string> worker_arguments(const KernelBenchOptions& options, const KernelBenchWork& work);

}  // namespace asap::bench
