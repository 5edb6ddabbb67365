// Times rows of the op table (tests/op_cases.h) with Google Benchmark: a variant is first compared with another one on
// the very inputs that are then timed, and a rate above the machine's measured peak is an error.
// Used by bench_ops.cpp and custom_kernel_example.cpp.
#pragma once

#include <string>

#include "bench/machine_peak.h"
#include "tests/op_cases.h"

namespace asap::bench {

// On the CPU, rows of more operations are compared with a fast variant, as naive would take seconds; naive itself is timed,
// several times over, up to a tenth of it. On a card naive is fast enough for all rows.
inline constexpr double kNaiveFlops = 2e9;

// Runs the variant on the row and compares: naive up to kNaiveFlops, else the first other variant that takes the row.
// Returns what it was compared with, e.g. "= naive"; "" if the variant does not take the row; throws Error on a mismatch.
// In bf16 it is compared with what the slot does on the same rounded numbers in f32 ("= float32").
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
