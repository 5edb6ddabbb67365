// Device backends and Storage. Declared in storage.h.
#include "tensor/storage.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "tensor/caching_allocator.h"
#include "tensor/kernel_slot.h"
#include "tensor/side_thread.h"

namespace asap {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

class CpuBackend final : public DeviceBackend {
 public:
  void* allocate(size_t bytes) override {
    const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, rounded);
    if (!memory) throw OutOfMemory(str("memory: could not get ", bytes, " bytes on the cpu"), bytes, 0, 0);
#ifdef MADV_HUGEPAGE
    if (bytes >= kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // fewer page faults; a refusal is harmless
#endif
    return memory;
  }
  void deallocate(void* memory, size_t) noexcept override { std::free(memory); }
  void copy_to_host(const void* device, void* host, size_t bytes) override { std::memcpy(host, device, bytes); }
  void copy_from_host(const void* host, void* device, size_t bytes) override { std::memcpy(device, host, bytes); }
  void synchronize() override {}
  void beside(std::function<void()> work) override {
    if (!side_) side_ = std::make_unique<SideThread>();
    side_->add(std::move(work));
  }
  void join() override {
    if (side_) side_->wait();
  }

 private:
  std::unique_ptr<SideThread> side_;  // none until it is needed
};

DeviceBackend*& backend_slot(Device device) {
  static CpuBackend cpu;
  static DeviceBackend* backends[kDeviceCount] = {&cpu, nullptr};
  return backends[static_cast<int>(device)];
}

std::string& reason_slot(Device device) {
  static std::string reasons[kDeviceCount];
  return reasons[static_cast<int>(device)];
}

class RepeatedWork final : public DeviceGraph {
 public:
  explicit RepeatedWork(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

}  // namespace

std::unique_ptr<DeviceGraph> DeviceBackend::capture(const std::function<void()>& work, const DeviceGraph*) {
  work();
  return std::make_unique<RepeatedWork>(work);
}

bool is_available(Device device) {
  if (device != Device::cpu) ensure_kernels_registered();  // which finds the devices
  return backend_slot(device) != nullptr;
}
void set_unavailable(Device device, const std::string& reason) { reason_slot(device) = reason; }
std::string unavailable_reason(Device device) {
  const std::string& reason = reason_slot(device);
  return reason.empty() ? "this build has no CUDA backend; build with -DASAP_CUDA=ON where nvcc is, or use the cpu"
                        : reason;
}
void set_backend(Device device, DeviceBackend* backend) { backend_slot(device) = backend; }

DeviceBackend& backend(Device device) {
  if (device != Device::cpu) ensure_kernels_registered();
  DeviceBackend* found = backend_slot(device);
  ASAP_CHECK(found, "device: ", device, " is not available: ", unavailable_reason(device));
  return *found;
}

namespace {
thread_local std::shared_ptr<Allocator> scoped_allocators[kDeviceCount];
}

ScopedAllocator::ScopedAllocator(Device device, std::shared_ptr<Allocator> allocator)
    : Scoped(scoped_allocators[static_cast<int>(device)], std::move(allocator)) {}

Storage::Storage(size_t bytes, Device device)
    : allocator_(scoped_allocators[static_cast<int>(device)]), bytes_(bytes), device_(device) {
  if (!allocator_) allocator_ = caching_allocator(device);
  block_ = allocator_->allocate(bytes);
}

}  // namespace asap
