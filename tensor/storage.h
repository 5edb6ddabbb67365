// Storage: one block of memory on one device, shared by every tensor that views it, and the caching allocators
// behind it. A version counts in-place writes, so autograd can tell when a saved value was overwritten.
// Next: tensor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "tensor/dtype.h"

namespace asap {

// Work on one device that can be run again: see DeviceBackend::capture.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void replay() = 0;
};

// What a device must offer below the kernels. The CPU's is built in; a CUDA build registers its own.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  // At least `bytes` of memory aligned to 64; throws Error naming bytes asked and free.
  virtual void* allocate(size_t bytes) = 0;
  virtual void deallocate(void* memory, size_t bytes) noexcept = 0;
  // Blocking copies between this device and host memory.
  virtual void copy_to_host(const void* device, void* host, size_t bytes) = 0;
  virtual void copy_from_host(const void* host, void* device, size_t bytes) = 0;
  virtual void copy_within(const void* from, void* to, size_t bytes) = 0;
  // Waits for all queued work.
  virtual void synchronize() = 0;
  // Runs `work` once. replay() runs it again on the same memory, which must still be there: by calling it again, unless the
  // device can record it (a CUDA graph).
  virtual std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work);
};

// The device's backend; throws Error saying what to do when there is none (no CUDA build, no GPU).
DeviceBackend& backend(Device device);
bool is_available(Device device);
void set_backend(Device device, DeviceBackend* backend);

// Bytes handed to live storages on a device: now, at the most so far, and kept for reuse by the allocator.
struct MemoryUse {
  size_t current = 0, peak = 0, cached = 0;
};
MemoryUse memory_use(Device device);
void reset_peak_memory(Device device);
// Gives cached blocks back to the system.
void release_cached_memory(Device device);

// Blocks for Storage come from here: freed blocks are kept and reused, since fresh pages cost more than a
// pass over them. Sizes are rounded so that equal work finds equal blocks. Thread-safe.
class CachingAllocator {
 public:
  explicit CachingAllocator(Device device);
  ~CachingAllocator();
  struct Block {
    void* memory = nullptr;
    size_t bytes = 0;  // the rounded size
  };
  Block allocate(size_t bytes);
  void deallocate(Block block) noexcept;
  MemoryUse use() const;
  void reset_peak();
  void release_cached() noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
CachingAllocator& caching_allocator(Device device);

// A test aid, per process: while on, new storages start as NaN (bytes 0xFF) and end in guard bytes, so that a kernel that
// leaves an output unwritten or writes past its end is found out.
void set_poison_new_memory(bool on);
// How many poisoned storages were freed with their guard bytes overwritten.
int64_t overwritten_guards();

class Storage {
 public:
  Storage(size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return block_.memory; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  CachingAllocator::Block block_;
  size_t bytes_;
  Device device_;
  uint64_t version_ = 0;
  bool guarded_ = false;
};

}  // namespace asap
