// Storage: one block of memory on one device, shared by every tensor that views it, and the allocators behind
// it. A version counts in-place writes, so autograd can tell when a saved value was overwritten.
// Next: caching_allocator.h for where the memory comes from; tensor.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tensor/dtype.h"
#include "tensor/scoped.h"

namespace asap {

// Memory that a device does not have: what a program may answer with smaller settings.
class OutOfMemory : public Error {
 public:
  // `text` is the whole sentence. asked, free, total: bytes.
  OutOfMemory(const std::string& text, size_t asked, size_t free, size_t total)
      : Error(text), asked_(asked), free_(free), total_(total) {}
  size_t asked() const { return asked_; }
  size_t free() const { return free_; }
  size_t total() const { return total_; }

 private:
  size_t asked_, free_, total_;
};

// Work that was recorded once and can be done again, on the same memory.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  virtual void replay() = 0;
  virtual size_t bytes() const { return 0; }  // of memory that it keeps for its work
};

// What a device must offer below the kernels. The CPU's is built in; a CUDA build registers its own.
class DeviceBackend {
 public:
  virtual ~DeviceBackend() = default;
  // At least `bytes` of memory aligned to 64; throws OutOfMemory naming bytes asked and free.
  virtual void* allocate(size_t bytes) = 0;
  virtual void deallocate(void* memory, size_t bytes) noexcept = 0;
  // Waits for the queued work and the copy.
  virtual void copy_to_host(const void* device, void* host, size_t bytes) = 0;
  // In order with the queued work, without waiting for it; the host memory may be written again on return.
  virtual void copy_from_host(const void* host, void* device, size_t bytes) = 0;
  // Waits for all queued work.
  virtual void synchronize() = 0;
  // Does work() beside what is done or queued after this call, in the order of such calls, when all that was queued before is done.
  // What comes after join() comes after all of it; join() throws what work() threw. One thread may use them at a time.
  virtual void beside(std::function<void()> work) = 0;
  virtual void join() = 0;
  // Page-locks host memory, so that copies from and to it are the device's own work and need no buffer between. False where
  // that is not to be had (nothing to gain, or memory of others on the same pages that is locked): copies work all the same.
  // What was locked must be unlocked before it is freed.
  virtual bool page_lock(void*, size_t) { return false; }
  virtual void page_unlock(void*) noexcept {}
  // Does work() and records it. What work() allocates belongs to the graph and must be freed when work() returns: tensors
  // that go in or come out are made before. work() must always do the same, and must not read from or write to the host.
  // A graph given as `beside` shares its memory with the new one: the two must not run at the same time, and what one
  // leaves there the other overwrites.
  // Here, where there is no queue: a graph whose replay() calls work().
  virtual std::unique_ptr<DeviceGraph> capture(const std::function<void()>& work, const DeviceGraph* beside = nullptr);
};

// The device's backend; throws Error saying what to do when there is none (no CUDA build, no GPU).
DeviceBackend& backend(Device device);
bool is_available(Device device);
void set_backend(Device device, DeviceBackend* backend);
// Why a backend that was built cannot be used (no driver, no card): part of the error of backend().
void set_unavailable(Device device, const std::string& reason);
// The clause that says so: "this build has no CUDA backend; ...".
std::string unavailable_reason(Device device);

// Bytes handed to live storages on a device: now, at the most so far, and kept for reuse by the allocator.
struct MemoryUse {
  size_t current = 0, peak = 0, cached = 0;
};
MemoryUse memory_use(Device device);
void reset_peak_memory(Device device);
// Gives cached blocks back to the system.
void release_cached_memory(Device device);

// Where storages get their memory. Thread-safe.
class Allocator {
 public:
  struct Block {
    void* memory = nullptr;
    size_t bytes = 0;  // at least those asked for
  };
  virtual ~Allocator() = default;
  virtual Block allocate(size_t bytes) = 0;
  virtual void deallocate(Block block) noexcept = 0;
};

// While it lives, this thread's new storages on the device come from `allocator`, which lives as long as they do: so a
// graph's memory stays apart from all other, and a test sees what kernels write.
struct ScopedAllocator : Scoped<std::shared_ptr<Allocator>> {
  ScopedAllocator(Device device, std::shared_ptr<Allocator> allocator);
};

class Storage {
 public:
  Storage(size_t bytes, Device device);
  ~Storage() { allocator_->deallocate(block_); }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return block_.memory; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  std::shared_ptr<Allocator> allocator_;
  Allocator::Block block_;
  size_t bytes_;
  Device device_;
  uint64_t version_ = 0;
};

}  // namespace asap
