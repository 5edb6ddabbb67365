// Times rows of the op table (tests/op_cases.h) with Google Benchmark: a variant is first compared with another one on
// the very inputs that are then timed, and a rate above the machine's measured peak is an error.
// Used by bench_ops.cpp.
#pragma once

#include <string>

#include "bench/machine_peak.h"
#include "tests/op_cases.h"

namespace asap::bench {

// As VerifiedRow::verify (verified_row.h).
std::string verify(const tests::OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device,
                   DType dtype = DType::f32);

// Times one row on the CPU and prints it as one_row.h says, with its operations and compulsory bytes. An empty variant is the
// slot's own choice, which the line names. Throws Error if the variant does not take the row.
void print_timing(const tests::OpCase& row, const std::string& variant, DType dtype, int calls, bool verified);

// Registers the benchmark "row/variant", median of five. Counters: GFLOP/s, GB/s of compulsory traffic, percent of the peak.
void register_timing(const tests::OpCase& row, KernelSlotBase& slot, const std::string& variant, Device device,
                     const MachinePeak& peak);

// Runs what was registered and prints a line each; 1 if one failed (wrong values, or faster than the machine), else 0.
int run_timings();

}  // namespace asap::bench
