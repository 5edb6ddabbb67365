// The emulated card's memory. Every block from the device heap ends at an unreachable page, so that an access behind it
// ends the program with the kernel's name; under AddressSanitizer blocks come from malloc, which tells more. With
// ASAP_EMULATE_PROTECT=1 the whole heap is unreachable while no kernel and no copy runs: host code that follows a device
// pointer ends the program too. Used by cuda_runtime.cpp and fibers.cpp.
#pragma once

#include <cstddef>
#include <string>

namespace asap::emulate {

// Aligned to 256 bytes as cudaMalloc's; null when `capacity` (ASAP_EMULATE_MEMORY_MIB, default 4096) would be exceeded.
void* device_allocate(size_t bytes);
// Returns false if this is no block of the heap.
bool device_free(void* memory);
size_t device_bytes_free();
size_t device_bytes_total();
// Whether [p, p + bytes) lies within one block of the heap.
bool is_device_memory(const void* p, size_t bytes);

// Opens the heap for its life, where ASAP_EMULATE_PROTECT closed it. Nests.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// The dynamic shared memory of the blocks that one core runs: ends at an unreachable page, starts as NaN.
class SharedMemory {
 public:
  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void start_block(size_t bytes);
  void* start(size_t& bytes) const {
    bytes = bytes_;
    return start_;
  }

 private:
  char* memory_;
  void* start_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace asap::emulate
