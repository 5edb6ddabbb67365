// The checksum of zip and PNG (ISO 3309), for tests that make such files by hand.
#pragma once

#include <cstddef>
#include <cstdint>

namespace asap::tests {

inline uint32_t crc32(const void* data, size_t size) {
  uint32_t crc = ~uint32_t{0};
  for (size_t i = 0; i < size; ++i) {
    crc ^= static_cast<const uint8_t*>(data)[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

}  // namespace asap::tests
