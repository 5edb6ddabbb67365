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

#include "tensor/kernel_slot.h"

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
  void copy_within(const void* from, void* to, size_t bytes) override { std::memcpy(to, from, bytes); }
  void synchronize() override {}
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

struct CachingAllocator::Impl {
  using Block = CachingAllocator::Block;
  Device device;
  mutable std::mutex mutex;
  std::multimap<size_t, void*> free_blocks;  // by rounded size
  MemoryUse use;
  bool is_private = false;
  std::map<void*, size_t> private_blocks;            // all of them; bytes
  std::multimap<size_t, void*> free_private_blocks;  // by size

  // A free block of about `size` bytes, taken out of `blocks`; no memory if there is none.
  static Block take(std::multimap<size_t, void*>& blocks, size_t size) {
    const auto found = blocks.lower_bound(size);
    if (found == blocks.end() || found->first > size + size / 4) return {};
    const Block block{found->second, found->first};
    blocks.erase(found);
    return block;
  }
  void count_in(size_t bytes) {
    use.current += bytes;
    use.peak = std::max(use.peak, use.current);
  }
  // Fresh memory; where there is none, the cache may hold what is missing: it is given back first.
  void* fresh(size_t size) {
    try {
      return backend(device).allocate(size);
    } catch (const OutOfMemory&) {
      release_free_blocks();
    }
    try {
      return backend(device).allocate(size);
    } catch (const OutOfMemory& error) {
      const std::string text = str(error.what(), "; ", use.current >> 20, " MiB are in use by this program's tensors");
      throw OutOfMemory(text, error.asked(), error.free(), error.total());
    }
  }
  void release_free_blocks() noexcept {
    for (auto& [size, memory] : free_blocks) backend(device).deallocate(memory, size);
    free_blocks.clear();
    use.cached = 0;
  }

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
  if (impl_->is_private) {
    if (const Block block = Impl::take(impl_->free_private_blocks, size); block.memory) return block;
  }
  Block block = Impl::take(impl_->free_blocks, size);
  if (block.memory) {
    impl_->use.cached -= block.bytes;
  } else {
    block = {impl_->fresh(size), size};
  }
  impl_->count_in(block.bytes);
  if (impl_->is_private) impl_->private_blocks[block.memory] = block.bytes;
  return block;
}

void CachingAllocator::deallocate(Block block) noexcept {
  if (!block.memory) return;
  std::lock_guard lock(impl_->mutex);
  if (impl_->is_private && impl_->private_blocks.contains(block.memory)) {
    impl_->free_private_blocks.emplace(block.bytes, block.memory);
    return;
  }
  impl_->use.current -= block.bytes;
  if (!Impl::caching()) {
    backend(impl_->device).deallocate(block.memory, block.bytes);
    return;
  }
  impl_->use.cached += block.bytes;
  impl_->free_blocks.emplace(block.bytes, block.memory);
}

void CachingAllocator::begin_private(const std::vector<Block>& lent) {
  std::lock_guard lock(impl_->mutex);
  ASAP_CHECK(!impl_->is_private, "memory: a graph is being captured already");
  impl_->is_private = true;
  for (const Block& block : lent) {
    impl_->private_blocks[block.memory] = block.bytes;
    impl_->free_private_blocks.emplace(block.bytes, block.memory);
  }
}

CachingAllocator::PrivateBlocks CachingAllocator::end_private() {
  std::lock_guard lock(impl_->mutex);
  PrivateBlocks blocks;
  for (const auto& [bytes, memory] : impl_->free_private_blocks) blocks.free.push_back({memory, bytes});
  blocks.in_use = impl_->private_blocks.size() - blocks.free.size();
  impl_->is_private = false;
  impl_->private_blocks.clear();
  impl_->free_private_blocks.clear();
  return blocks;
}

void CachingAllocator::release_private(const std::vector<Block>& blocks) noexcept {
  for (const Block& block : blocks) deallocate(block);
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
  impl_->release_free_blocks();
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
    : block_(caching_allocator(device).allocate(poison ? bytes + kGuardBytes : bytes)),
      bytes_(bytes),
      device_(device),
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
