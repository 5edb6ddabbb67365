// What `asapnet bench` makes of its timings: a table for the terminal, JSON that Google Benchmark's compare.py reads, and a roofline
// chart (Williams et al., CACM 2009) as SVG.
#pragma once

#include <string>
#include <vector>

#include "bench/kit/kernel_bench.h"

namespace asap::bench {

// The variants of one row, fastest first: milliseconds (median), GFLOP/s, GB/s of compulsory traffic, share of the roofline (the time
// that the machine's measured peaks leave for so much work), and the best built-in variant's time over this one's. Variants whose
// products are rounded (_tf32, _bf16) are no measure for one that computes in float32.
std::string timing_table(std::vector<VariantTiming> of_row);

// Google Benchmark's format: one entry for each call that was timed, so that compare.py's U test has samples, and their median.
std::string timings_json(const KernelBenchResult& result);

// Operations a byte across, GFLOP/s upwards, both logarithmic; the roof is main memory's bandwidth and the arithmetic
// peak, dashed that of bf16. Operations are the definition's: Winograd's, which does fewer, may stand above.
std::string roofline_svg(const KernelBenchResult& result);

}  // namespace asap::bench
