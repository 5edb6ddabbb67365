// CachingAllocator: where storages get their memory. Sits between the devices' backends and Storage (storage.h).
#pragma once

#include <map>
#include <mutex>

#include "tensor/storage.h"

namespace asap {

// Freed blocks are kept and reused, since fresh pages cost more than a pass over them. Sizes are rounded so that equal
// work finds equal blocks.
class CachingAllocator final : public Allocator {
 public:
  // New blocks are the device's, or those of `source`, whose they are again when this allocator ends.
  explicit CachingAllocator(Device device, Allocator* source = nullptr) : device_(device), source_(source) {}
  ~CachingAllocator() override { release_cached(); }
  Block allocate(size_t bytes) override;
  void deallocate(Block block) noexcept override;
  MemoryUse use() const;
  void reset_peak();
  void release_cached() noexcept;

 private:
  Block fresh(size_t size);
  void release_free_blocks() noexcept;

  Device device_;
  Allocator* source_;
  mutable std::mutex mutex_;
  std::multimap<size_t, void*> free_blocks_;  // by rounded size
  MemoryUse use_;
};
// The device's own, which memory_use() tells of.
const std::shared_ptr<CachingAllocator>& caching_allocator(Device device);

}  // namespace asap
