// The emulated card's memory. Every block from the device heap ends at an unreachable page, so that an access behind it
// ends the program with the kernel's name; under AddressSanitizer blocks come from malloc, which tells more. Used by
// cuda_runtime.cpp and fibers.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace asap::emulate {

// Aligned to 256 bytes as cudaMalloc's; null when `capacity` (ASAP_EMULATE_MEMORY_MIB, default 4096) would be exceeded.
void* device_allocate(size_t bytes);
// Returns false if this is no block of the heap.
bool device_free(void* memory);
size_t device_bytes_free();
size_t device_bytes_total();
// Whether [p, p + bytes) lies within one block of the heap.
bool is_device_memory(const void* p, size_t bytes);

// The dynamic shared memory of a block: starts at a multiple of 1024 and as NaN, ends at an unreachable page but for what
// rounding up to 1024 leaves. Matrix products read it through a proxy of their own: they see what it held at the last
// barrier after a fence, and what tile copies brought.
class SharedMemory {
 public:
  SharedMemory();
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void start_block(size_t bytes);
  char* start() const { return start_; }
  size_t bytes() const { return bytes_; }
  bool holds(const void* p) const { return p >= start_ && p < start_ + bytes_; }
  // The same as start(), asked for by a kernel that relies on its alignment.
  char* aligned_start() { return aligned_ = true, start_; }
  bool is_aligned() const { return aligned_; }
  // Whether nothing was written between its end and the next multiple of 1024.
  bool end_is_intact() const;

  void fence() { fenced_ = true; }
  void barrier();
  void show(size_t offset, size_t bytes);
  // Whether products see what the bytes from `offset` on hold.
  bool is_seen(size_t offset, size_t bytes) const;

 private:
  char* memory_;
  char* start_ = nullptr;
  size_t bytes_ = 0;
  bool fenced_ = false, aligned_ = false;
  std::vector<char> seen_;  // empty while nothing is
};

}  // namespace asap::emulate
