// What the card can do, measured: the yardstick of the benchmarks. Plain C++; without a card every call throws
// asap::Error. Used by bench/.
#pragma once

#include <string>

namespace asap::cuda {

struct CardPeak {
  double f32_flops = 0, tf32_flops = 0, bf16_flops = 0;  // operations a second; the last two of tensor cores
  std::string tensor_cores;                              // by which instruction: mma.sync, or wgmma where it is faster
  double bytes_per_second = 0;                           // of device memory, read and written together
};
// Less than a second.
CardPeak measure_card_peak();

// Fills the second-level cache with other data, so that the next kernel reads its inputs from memory. Nothing is written: what
// that kernel evicts need not go back to memory first.
void flush_cache();

}  // namespace asap::cuda
