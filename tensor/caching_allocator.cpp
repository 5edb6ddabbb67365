// Reuse of freed blocks. Declared in caching_allocator.h.
#include "tensor/caching_allocator.h"

#include <algorithm>
#include <array>

namespace asap {
namespace {

// Steps of an eighth of the power of two below: at most 12.5 % is lost to rounding.
size_t rounded(size_t bytes) {
  if (bytes <= 4096) return std::max<size_t>(64, (bytes + 63) / 64 * 64);
  size_t power = 4096;
  while (power * 2 <= bytes) power *= 2;
  const size_t step = power / 8;
  return (bytes + step - 1) / step * step;
}

// Every use after free must reach the sanitizer: only an allocator with a source, which wants the same blocks again,
// keeps them.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepsBlocks = false;
#else
constexpr bool kKeepsBlocks = true;
#endif

}  // namespace

Allocator::Block CachingAllocator::allocate(size_t bytes) {
  const size_t size = rounded(bytes);
  ASAP_CHECK(size >= bytes, "memory: ", bytes, " bytes are more than any machine has");
  std::lock_guard lock(mutex_);
  Block block;
  const auto found = free_blocks_.lower_bound(size);
  if (found != free_blocks_.end() && found->first <= size + size / 4) {
    block = {found->second, found->first};
    free_blocks_.erase(found);
    use_.cached -= block.bytes;
  } else {
    block = fresh(size);
  }
  use_.current += block.bytes;
  use_.peak = std::max(use_.peak, use_.current);
  return block;
}

void CachingAllocator::deallocate(Block block) noexcept {
  if (!block.memory) return;
  std::lock_guard lock(mutex_);
  use_.current -= block.bytes;
  use_.cached += block.bytes;
  free_blocks_.emplace(block.bytes, block.memory);
  if (!kKeepsBlocks && !source_) release_free_blocks();
}

// Where there is no fresh memory, the cache may hold what is missing: it is given back first.
Allocator::Block CachingAllocator::fresh(size_t size) {
  if (source_) return source_->allocate(size);
  try {
    return {backend(device_).allocate(size), size};
  } catch (const OutOfMemory&) {
    release_free_blocks();
  }
  try {
    return {backend(device_).allocate(size), size};
  } catch (const OutOfMemory& error) {
    const std::string text = str(error.what(), "; ", use_.current >> 20, " MiB are in use by this program's tensors");
    throw OutOfMemory(text, error.asked(), error.free(), error.total());
  }
}

void CachingAllocator::release_free_blocks() noexcept {
  for (const auto& [bytes, memory] : free_blocks_) {
    source_ ? source_->deallocate({memory, bytes}) : backend(device_).deallocate(memory, bytes);
  }
  free_blocks_.clear();
  use_.cached = 0;
}

MemoryUse CachingAllocator::use() const {
  std::lock_guard lock(mutex_);
  return use_;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(mutex_);
  use_.peak = use_.current;
}

void CachingAllocator::release_cached() noexcept {
  std::lock_guard lock(mutex_);
  release_free_blocks();
}

// Never destroyed: tensors in static objects may outlive any order of destruction we could pick.
const std::shared_ptr<CachingAllocator>& caching_allocator(Device device) {
  static const auto* allocators = new std::array{std::make_shared<CachingAllocator>(Device::cpu),
                                                 std::make_shared<CachingAllocator>(Device::cuda)};
  return (*allocators)[static_cast<size_t>(device)];
}

MemoryUse memory_use(Device device) { return caching_allocator(device)->use(); }
void reset_peak_memory(Device device) { caching_allocator(device)->reset_peak(); }
void release_cached_memory(Device device) { caching_allocator(device)->release_cached(); }

}  // namespace asap
