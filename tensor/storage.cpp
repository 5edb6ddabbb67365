// Device backends, the caching allocator and Storage. Declared in storage.h.
#include "tensor/storage.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

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
    ASAP_CHECK(memory != nullptr, "memory: could not get ", bytes, " bytes on the cpu");
#ifdef MADV_HUGEPAGE
    if (bytes >= kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // fewer page faults; a refusal is harmless
#endif
    return memory;
  }
  void deallocate(void* memory, size_t) noexcept override { std::free(memory); }
  void copy_to_host(const void* device, void* host, size_t bytes) override { std::memcpy(host, device, bytes); }
  void copy_from_host(const void* host, void* device, size_t bytes) override { std::memcpy(device, host, bytes); }
  void copy_within(const void* from, void* to, size_t bytes) override { std::memcpy(to, from, bytes); }
  void synchronize() override {}
};

class RepeatedWork final : public DeviceGraph {
 public:
  explicit RepeatedWork(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

DeviceBackend*& backend_slot(Device device) {
  static CpuBackend cpu;
  static DeviceBackend* backends[kDeviceCount] = {&cpu, nullptr};
  return backends[static_cast<int>(device)];
}

}  // namespace

std::unique_ptr<DeviceGraph> DeviceBackend::capture(const std::function<void()>& work) {
  work();
  return std::make_unique<RepeatedWork>(work);
}

bool is_available(Device device) { return backend_slot(device) != nullptr; }
void set_backend(Device device, DeviceBackend* backend) { backend_slot(device) = backend; }

DeviceBackend& backend(Device device) {
  DeviceBackend* found = backend_slot(device);
  ASAP_CHECK(found, "device: ", device,
             " is not available; build with -DASAP_CUDA=ON on a machine with an NVIDIA GPU, or use the cpu");
  return *found;
}

struct CachingAllocator::Impl {
  Device device;
  mutable std::mutex mutex;
  std::multimap<size_t, void*> free_blocks;  // by rounded size
  MemoryUse use;

  // Steps of an eighth of the power of two below: at most 12.5 % is lost to rounding.
  static size_t rounded(size_t bytes) {
    if (bytes <= 4096) return std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    size_t power = 4096;
    while (power * 2 <= bytes) power *= 2;
    const size_t step = power / 8;
    return (bytes + step - 1) / step * step;
  }
  static bool caching() {
#if defined(__SANITIZE_ADDRESS__)
    return false;  // every use after free must reach the sanitizer
#else
    return true;
#endif
  }
};

CachingAllocator::CachingAllocator(Device device) : impl_(std::make_unique<Impl>()) { impl_->device = device; }
CachingAllocator::~CachingAllocator() { release_cached(); }

CachingAllocator::Block CachingAllocator::allocate(size_t bytes) {
  const size_t size = Impl::rounded(bytes);
  ASAP_CHECK(size >= bytes, "memory: ", bytes, " bytes are more than any machine has");
  std::lock_guard lock(impl_->mutex);
  void* memory = nullptr;
  auto found = impl_->free_blocks.lower_bound(size);
  if (found != impl_->free_blocks.end() && found->first <= size + size / 4) {
    memory = found->second;
    impl_->use.cached -= found->first;
    const size_t actual = found->first;
    impl_->free_blocks.erase(found);
    impl_->use.current += actual;
    impl_->use.peak = std::max(impl_->use.peak, impl_->use.current);
    return {memory, actual};
  }
  try {
    memory = backend(impl_->device).allocate(size);
  } catch (const Error&) {
    // The cache may hold what is missing: give it back and try once more.
    for (auto& [cached_size, cached] : impl_->free_blocks) backend(impl_->device).deallocate(cached, cached_size);
    impl_->free_blocks.clear();
    impl_->use.cached = 0;
    memory = backend(impl_->device).allocate(size);
  }
  impl_->use.current += size;
  impl_->use.peak = std::max(impl_->use.peak, impl_->use.current);
  return {memory, size};
}

void CachingAllocator::deallocate(Block block) noexcept {
  if (!block.memory) return;
  std::lock_guard lock(impl_->mutex);
  impl_->use.current -= block.bytes;
  if (!Impl::caching()) {
    backend(impl_->device).deallocate(block.memory, block.bytes);
    return;
  }
  impl_->use.cached += block.bytes;
  impl_->free_blocks.emplace(block.bytes, block.memory);
}

MemoryUse CachingAllocator::use() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->use;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(impl_->mutex);
  impl_->use.peak = impl_->use.current;
}

void CachingAllocator::release_cached() noexcept {
  std::lock_guard lock(impl_->mutex);
  for (auto& [size, memory] : impl_->free_blocks) backend(impl_->device).deallocate(memory, size);
  impl_->free_blocks.clear();
  impl_->use.cached = 0;
}

// Never destroyed: tensors in static objects may outlive any order of destruction we could pick.
CachingAllocator& caching_allocator(Device device) {
  static CachingAllocator* allocators[kDeviceCount] = {new CachingAllocator(Device::cpu),
                                                       new CachingAllocator(Device::cuda)};
  return *allocators[static_cast<int>(device)];
}

MemoryUse memory_use(Device device) { return caching_allocator(device).use(); }
void reset_peak_memory(Device device) { caching_allocator(device).reset_peak(); }
void release_cached_memory(Device device) { caching_allocator(device).release_cached(); }

namespace {

std::atomic<bool> poison{false};
std::atomic<int64_t> overwritten{0};
constexpr size_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0xA5;

}  // namespace

void set_poison_new_memory(bool on) { poison = on; }
int64_t overwritten_guards() { return overwritten; }

Storage::Storage(size_t bytes, Device device)
    : block_(caching_allocator(device).allocate(poison ? bytes + kGuardBytes : bytes)), bytes_(bytes), device_(device),
      guarded_(poison) {
  if (!guarded_) return;
  std::vector<unsigned char> content(bytes + kGuardBytes, 0xFF);
  std::fill_n(content.begin() + static_cast<std::ptrdiff_t>(bytes), kGuardBytes, kGuard);
  backend(device).copy_from_host(content.data(), block_.memory, content.size());
}

Storage::~Storage() {
  if (guarded_) {
    std::array<unsigned char, kGuardBytes> guard;
    backend(device_).copy_to_host(static_cast<unsigned char*>(block_.memory) + bytes_, guard.data(), kGuardBytes);
    if (std::any_of(guard.begin(), guard.end(), [](unsigned char byte) { return byte != kGuard; })) ++overwritten;
  }
  caching_allocator(device_).deallocate(block_);
}

}  // namespace asap
