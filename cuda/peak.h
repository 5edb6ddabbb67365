// What the card can do, measured: the yardstick of the benchmarks. Plain C++; without a card every call throws
// asap::Error. Used by bench/.
#pragma once

#include <string>

namespace asap::cuda {

struct CardPeak {
  double f32_flops = 0, tf32_flops = 0, bf16_flops = 0;  // operations a second; tensor cores through mma.sync
  double bytes_per_second = 0;                           // of device memory, read and written together
  std::string str() const;
};
// Less than a second.
CardPeak measure_card_peak();

// Overwrites the second-level cache, so that the next kernel reads its inputs from memory.
void flush_cache();

}  // namespace asap::cuda
