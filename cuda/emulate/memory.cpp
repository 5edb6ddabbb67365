// Guarded memory of the emulated card. Declared in memory.h.
#include "cuda/emulate/memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "cuda/emulate/fibers.h"
#include "tensor/error.h"

namespace asap::emulate {
namespace {

constexpr size_t kPage = 4096, kAlignment = 256, kMostShared = 256 << 10, kSharedAlignment = 1024;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

struct Block {
  char* mapping = nullptr;  // start of the mapped pages
  size_t mapped = 0;        // bytes of them that are usable; one unreachable page follows
  size_t bytes = 0;
};

// Says where an access outside of device memory happened, then lets the program end as it would have.
void on_bad_access(int signal, siginfo_t* info, void*) {
  const std::string place = where();
  std::fprintf(stderr, "emulate: %s at address %p, %s\n",
               signal == SIGSEGV ? "access outside of device memory" : "bad access", info->si_addr,
               place.empty() ? "outside of any kernel" : place.c_str());
  ::signal(signal, SIG_DFL);
  raise(signal);
}

struct Heap {
  std::mutex mutex;
  std::map<char*, Block> blocks;  // by first byte
  size_t used = 0, capacity;

  Heap() {
    const char* mib = std::getenv("ASAP_EMULATE_MEMORY_MIB");
    capacity = (mib ? std::strtoull(mib, nullptr, 10) : 4096) << 20;
#if !defined(__SANITIZE_ADDRESS__)
    struct sigaction action = {};
    action.sa_sigaction = on_bad_access;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
#endif
  }
};

Heap& heap() {
  static Heap* one = new Heap;  // never destroyed: tensors in static objects may outlive it
  return *one;
}

}  // namespace

// UndefinedBehaviorSanitizer calls this before it says what is not aligned and where in the source.
extern "C" void __ubsan_on_report() { std::fprintf(stderr, "emulate: %s\n", where().c_str()); }

#if defined(__SANITIZE_ADDRESS__)
void* map_block(size_t bytes, Block& block) {
  block = {.mapping = static_cast<char*>(std::aligned_alloc(kAlignment, round_up(bytes, kAlignment))),
           .mapped = 0,
           .bytes = bytes};
  return block.mapping;
}
void unmap_block(const Block& block) { std::free(block.mapping); }
#else
// The block's last byte, up to its alignment, is the last of a page; the page behind it cannot be reached.
void* map_block(size_t bytes, Block& block) {
  const size_t rounded = round_up(bytes, kAlignment), mapped = round_up(rounded, kPage);
  void* memory = mmap(nullptr, mapped + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  block = {.mapping = static_cast<char*>(memory), .mapped = mapped, .bytes = bytes};
  mprotect(memory, mapped, PROT_READ | PROT_WRITE);
  return block.mapping + mapped - rounded;
}
void unmap_block(const Block& block) { munmap(block.mapping, block.mapped + kPage); }
#endif

void* device_allocate(size_t bytes) {
  Heap& h = heap();
  const std::lock_guard lock(h.mutex);
  bytes = bytes == 0 ? 1 : bytes;
  if (bytes > h.capacity - h.used) return nullptr;
  Block block;
  void* start = map_block(bytes, block);
  if (!start) return nullptr;
  h.used += bytes;
  h.blocks[static_cast<char*>(start)] = block;
  return start;
}

bool device_free(void* memory) {
  Heap& h = heap();
  const std::lock_guard lock(h.mutex);
  const auto found = h.blocks.find(static_cast<char*>(memory));
  if (found == h.blocks.end()) return false;
  h.used -= found->second.bytes;
  unmap_block(found->second);
  h.blocks.erase(found);
  return true;
}

size_t device_bytes_free() {
  const std::lock_guard lock(heap().mutex);
  return heap().capacity - heap().used;
}
size_t device_bytes_total() { return heap().capacity; }

bool is_device_memory(const void* p, size_t bytes) {
  Heap& h = heap();
  const std::lock_guard lock(h.mutex);
  auto* first = static_cast<char*>(const_cast<void*>(p));
  auto found = h.blocks.upper_bound(first);
  if (found == h.blocks.begin()) return false;
  --found;
  return first + bytes <= found->first + found->second.bytes;
}

SharedMemory::SharedMemory()
    : memory_(static_cast<char*>(
          mmap(nullptr, kMostShared + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
  ASAP_CHECK(memory_ != MAP_FAILED, "emulate: no memory for the shared memory of a block");
  mprotect(memory_ + kMostShared, kPage, PROT_NONE);
}
SharedMemory::~SharedMemory() { munmap(memory_, kMostShared + kPage); }

void SharedMemory::start_block(size_t bytes) {
  bytes_ = bytes;
  start_ = memory_ + kMostShared - round_up(bytes, kSharedAlignment);
  std::memset(start_, 0xFF, round_up(bytes, kSharedAlignment));
  fenced_ = aligned_ = false;
  seen_.clear();
}
bool SharedMemory::end_is_intact() const {
  return std::all_of(start_ + bytes_, memory_ + kMostShared, [](char c) { return c == '\xFF'; });
}
void SharedMemory::barrier() {
  if (std::exchange(fenced_, false)) seen_.assign(start_, start_ + bytes_);
}
void SharedMemory::show(size_t offset, size_t bytes) {
  if (seen_.empty()) {
    seen_.resize(bytes_);
    std::transform(start_, start_ + bytes_, seen_.begin(), [](char c) { return static_cast<char>(~c); });
  }
  std::memcpy(seen_.data() + offset, start_ + offset, bytes);
}
bool SharedMemory::is_seen(size_t offset, size_t bytes) const {
  return !seen_.empty() && std::memcmp(seen_.data() + offset, start_ + offset, bytes) == 0;
}

}  // namespace asap::emulate
