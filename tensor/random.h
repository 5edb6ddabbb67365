// Counter-based random numbers: a RandomStream hands out disjoint ranges of one Philox sequence, so its state is
// two integers, it can be saved and restored, and the numbers do not depend on device or thread count.
#pragma once

#include <array>
#include <cstdint>

namespace asap {

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3, SC 2011).
constexpr std::array<uint32_t, 4> philox4x32(uint64_t seed, uint64_t counter) {
  uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  std::array<uint32_t, 4> c{static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += 0x9E3779B9;
    key1 += 0xBB67AE85;
  }
  return c;
}

struct RandomStream {
  uint64_t seed = 0, offset = 0;
  // Start of a range of `count` numbers that no other call gets.
  uint64_t take(uint64_t count) {
    const uint64_t start = offset;
    offset += count;
    return start;
  }
};

}  // namespace asap
