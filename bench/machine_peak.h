// What this machine can do with the current number of threads, measured: the yardstick that bench_ops holds kernels to.
#pragma once

#include <string>
#include <vector>

#include "tensor/precision.h"

namespace asap::bench {

struct MachinePeak {
  std::string name;                       // of the machine or card
  double flops = 0;                       // float32 operations per second, a fused multiply-add counting two
  double tf32_flops = 0, bf16_flops = 0;  // of tensor cores, or bf16 of a processor that multiplies it; 0 where there are none
  struct Bandwidth {
    double working_set = 0, bytes_per_second = 0;  // reading a buffer of so many bytes again and again
  };
  std::vector<Bandwidth> read;  // smallest working set first: first-level cache ... main memory

  // An upper bound for a kernel that touches `bytes`: the bandwidth of the largest measured set that is not larger.
  double bandwidth(double bytes) const;
  // The least time for so much work: whichever of arithmetic and memory takes longer.
  double seconds(double flop_count, double bytes, Precision precision = Precision::f32) const;
  std::string str() const;
  std::string json() const;  // rates in 10^9 a second, working sets in KiB, as bench/cpu_report.py reads them
};

// About two seconds; the best rates seen, since other load only ever makes a machine look slower.
MachinePeak measure_machine_peak();
// The card's (bench/yardsticks/peak.h). asap::Error without one.
MachinePeak measure_card_peak();

}  // namespace asap::bench
