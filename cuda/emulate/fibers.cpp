// Fibers, their scheduler, barriers and warp operations. Declared in fibers.h.
#include "cuda/emulate/fibers.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <set>

#include "cuda/emulate/memory.h"
#include "cuda/emulate/options.h"
#include "cuda/emulate/switch_context.h"
#include "tensor/error.h"

namespace asap::emulate {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 << 10;  // AddressSanitizer puts red zones around every local variable
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr size_t kPage = 4096;
constexpr unsigned kMaxThreads = 1024, kWarpgroup = 128;

enum class State { fresh, ready, at_barrier, at_cluster, at_exchange, at_phase, done };

struct Fiber {
  ThreadState thread;
  Context context;
  State state = State::fresh;
  int barrier_site = 0;
  unsigned generation = 0;  // of exchanges done: payloads alternate between two places
  unsigned partners = 0;    // threads that the exchange takes
  unsigned char agreed[kAgreedBytes];
  unsigned arrivals = 0, waits = 0;  // at the cluster's barrier
  const void* phases = nullptr;      // the barrier with phases that it waits at
};

struct Warp {
  unsigned char payload[2][kWarpSize][kLanePayload];
};

// Stacks for the threads of one block, each with an unreachable page below it if `guarded`.
class Stacks {
 public:
  explicit Stacks(bool guarded) {
    memory_ = static_cast<char*>(mmap(nullptr, kMaxThreads * kStride, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ASAP_CHECK(memory_ != MAP_FAILED, "emulate: no memory for the stacks of a block");
    for (unsigned i = 0; guarded && i < kMaxThreads; ++i) mprotect(memory_ + i * kStride, kPage, PROT_NONE);
  }
  ~Stacks() {
    forget_frames(memory_, kMaxThreads * kStride);  // whatever comes to lie there next
    munmap(memory_, kMaxThreads * kStride);
  }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  void* bottom(unsigned thread) const { return memory_ + thread * kStride + kPage; }

 private:
  static constexpr size_t kStride = kStackBytes + kPage;
  char* memory_;
};

// One of the blocks that run together. Those after the first go without guarded stacks: a process may have only so many pieces of
// memory, and all blocks run the same kernel.
struct Block {
  explicit Block(bool first) : stacks(first) {}
  Stacks stacks;
  std::unique_ptr<Fiber[]> fibers{new Fiber[kMaxThreads]};
  std::unique_ptr<Warp[]> warps{new Warp[kMaxThreads / kWarpSize]};
  SharedMemory shared;
  std::map<const void*, BlockPhases> phases;
  size_t static_bytes = 0;  // of shared memory
  bool started = false;
  unsigned ended = 0;  // threads
};

struct Freed {
  void operator()(void* memory) const { std::free(memory); }
};

// One core: runs one cluster at a time, mostly of one block; or a whole grid, whose blocks are one cluster to it.
struct Core {
  std::vector<std::unique_ptr<Block>> blocks;  // as many as the largest cluster so far had
  std::vector<std::unique_ptr<void, Freed>> memory;
  Context scheduler;
  Fiber* running = nullptr;
  const LaunchShape* shape = nullptr;
  const std::function<void()>* thread_function = nullptr;
  std::vector<unsigned> order;
  uint64_t epoch = 0;
  std::exception_ptr error;

  Block& running_block() { return *blocks[running->thread.rank]; }
};

thread_local Core* core = nullptr;

// 0..count-1 in the order of the day; shuffled by `seed`, so that a run can be repeated.
void fill_order(std::vector<unsigned>& order, size_t count, uint64_t seed) {
  order.resize(count);
  std::iota(order.begin(), order.end(), 0u);
  if (options().order == ThreadOrder::reverse) std::reverse(order.begin(), order.end());
  if (options().order == ThreadOrder::shuffle) std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
}

void check_thread_end(const Core& here, const ThreadState& thread) {
  if (!thread.products.empty()) kernel_error("has ended with products of its warpgroup that it did not wait for");
  if (here.shape->overlaps && !thread.waited_for_previous) {
    kernel_error("was launched overlapping(), but has ended without wait_for_previous_kernel()");
  }
}

// The first thing on a fiber's stack.
void fiber_entry() {
  Core& here = *core;
  Fiber& fiber = *here.running;
  arrived(fiber.context, &here.scheduler);
  try {
    (*here.thread_function)();
    check_thread_end(here, fiber.thread);
  } catch (...) {
    if (!here.error) here.error = std::current_exception();
  }
  fiber.state = State::done;
  switch_context(fiber.context, here.scheduler, true);
}

void yield() {
  Core& here = *core;
  Fiber& fiber = *here.running;
  switch_context(fiber.context, here.scheduler);
}

unsigned block_threads() { return core->shape->block.count(); }

// Calls f(fiber) for every thread of the blocks that run together.
template <class F>
void for_each_fiber(Core& here, F&& f) {
  for (unsigned rank = 0; rank < here.shape->run_together(); ++rank) {
    for (unsigned i = 0; i < block_threads(); ++i) f(here.blocks[rank]->fibers[i]);
  }
}

// Waits until all threads of the warp or warpgroup wait here.
void join_exchange(Fiber& fiber, unsigned partners) {
  Fiber* const all = core->running_block().fibers.get();
  const unsigned first = fiber.thread.linear / partners * partners, end = std::min(first + partners, block_threads());
  fiber.partners = partners;
  fiber.state = State::at_exchange;
  for (unsigned i = first; i < end; ++i) {
    if (all[i].state != State::at_exchange || all[i].partners != partners) return yield();
  }
  for (unsigned i = first; i < end; ++i) all[i].state = State::ready;
}

std::string thread_name(const Fiber& fiber) {
  const ThreadState& t = fiber.thread;
  const std::string block =
      core->shape->run_together() > 1 ? str("block (", t.block.x, ",", t.block.y, ",", t.block.z, ") ") : "";
  return str(block, "thread (", t.thread.x, ",", t.thread.y, ",", t.thread.z, ")");
}
std::string barrier_name(const Fiber& fiber) {
  if (fiber.state == State::at_phase) return "one with phases";
  if (fiber.state != State::at_cluster) return str(fiber.barrier_site);
  return core->shape->together ? "the grid's" : "the cluster's";
}

// Wakes those who wait for arrivals at the cluster's barrier that have all come. Returns whether there were some.
bool release_cluster(Core& here) {
  unsigned arrived = ~0u;
  for_each_fiber(here, [&](const Fiber& fiber) { arrived = std::min(arrived, fiber.arrivals); });
  bool released = false;
  for_each_fiber(here, [&](Fiber& fiber) {
    if (fiber.state != State::at_cluster || fiber.arrivals > arrived) return;
    fiber.state = State::ready;
    released = true;
  });
  if (!released) return false;
  for (unsigned rank = 0; rank < here.shape->run_together(); ++rank) here.blocks[rank]->shared.barrier();
  return true;
}

// Wakes a block whose threads all wait at one barrier.
bool release_block(Block& block) {
  const unsigned count = block_threads();
  for (unsigned i = 0; i < count; ++i) {
    const Fiber& fiber = block.fibers[i];
    if (fiber.state != State::at_barrier || fiber.barrier_site != block.fibers[0].barrier_site) return false;
  }
  for (unsigned i = 0; i < count; ++i) block.fibers[i].state = State::ready;
  block.shared.barrier();
  return true;
}

// Says what `waiting` waits for in vain, if `other` is to blame.
void blame(const Fiber& waiting, const Fiber& other) {
  if (other.state == State::done) {
    kernel_error(str(thread_name(other), " has ended, but ", thread_name(waiting), " waits at a barrier (",
                     barrier_name(waiting), ")"));
  }
  if (other.state != waiting.state ||
      (other.state == State::at_barrier && other.barrier_site != waiting.barrier_site)) {
    kernel_error(str(thread_name(other), " and ", thread_name(waiting), " wait at different barriers (",
                     barrier_name(other), " and ", barrier_name(waiting), ")"));
  }
}

// No thread can run: all of a block or cluster wait at one barrier, or something is wrong.
void release_barrier(Core& here) {
  for_each_fiber(here, [&](const Fiber& fiber) {
    if (fiber.state == State::at_exchange) {
      kernel_error(str(thread_name(fiber), " waits for ",
                       fiber.partners == kWarpgroup ? "threads of its warpgroup" : "lanes of its warp", " that never come"));
    }
  });
  bool released = release_cluster(here);
  for (unsigned rank = 0; rank < here.shape->run_together(); ++rank) released |= release_block(*here.blocks[rank]);
  if (released) return;
  for_each_fiber(here, [&](const Fiber& waiting) {
    if (waiting.state == State::at_phase) {
      const Block& block = *here.blocks[waiting.thread.rank];
      const BlockPhases& phases = block.phases.at(waiting.phases);
      kernel_error(str(thread_name(waiting), " waits for phase ", phases.phase, " of the barrier ",
                       static_cast<const char*>(waiting.phases) - block.shared.start(), " bytes into shared memory, where ",
                       phases.arrivals_missing, " of ", phases.count, " arrivals and ", phases.bytes_missing,
                       " bytes never come"));
    } else if (waiting.state == State::at_barrier) {
      Block& block = *here.blocks[waiting.thread.rank];
      for (unsigned i = 0; i < block_threads(); ++i) blame(waiting, block.fibers[i]);
    } else if (waiting.state == State::at_cluster) {
      for_each_fiber(here, [&](const Fiber& other) {
        if (other.arrivals < waiting.arrivals) blame(waiting, other);
      });
    }
  });
}

// Other blocks of the cluster may have written too early: what they wrote is lost.
void start_threads(Core& here, Block& block) {
  block.started = true;
  if (here.shape->cluster > 1) block.shared.start_block(here.shape->shared_bytes);
}
// Other blocks of the cluster may read too late: they find NaN.
void end_threads(Core& here, Block& block) {
  if (!block.shared.end_is_intact()) {
    kernel_error(thread_name(block.fibers[0]) + "'s block wrote behind its dynamic shared memory");
  }
  if (here.shape->cluster > 1) block.shared.start_block(here.shape->shared_bytes);
}

void resume(Core& here, Block& block, unsigned i) {
  Fiber& fiber = block.fibers[i];
  if (!block.started) start_threads(here, block);
  if (fiber.state == State::fresh) prepare(fiber.context, block.stacks.bottom(i), kStackBytes, fiber_entry);
  fiber.state = State::ready;
  here.running = &fiber;
  switch_context(here.scheduler, fiber.context);
  here.running = nullptr;
  if (here.error) std::rethrow_exception(here.error);
  if (fiber.state == State::done && ++block.ended == block_threads()) end_threads(here, block);
}

void run_threads(Core& here) {
  const unsigned count = block_threads(), all = count * here.shape->run_together();
  for (unsigned done = 0; done < all;) {
    bool progress = false;
    done = 0;
    for (const unsigned i : here.order) {
      Block& block = *here.blocks[i / count];
      const State& state = block.fibers[i % count].state;
      if (state == State::fresh || state == State::ready) {
        resume(here, block, i % count);
        progress = true;
      }
      done += state == State::done;
    }
    if (!progress && done < all) release_barrier(here);
  }
}

void prepare_block(Core& here, unsigned rank, uint64_t number) {
  const LaunchShape& shape = *here.shape;
  if (rank == here.blocks.size()) here.blocks.push_back(std::make_unique<Block>(rank == 0));
  Block& block = *here.blocks[rank];
  block.shared.start_block(shape.shared_bytes);
  block.phases.clear();
  block.static_bytes = 0;
  block.started = false;
  block.ended = 0;
  for (unsigned i = 0; i < block_threads(); ++i) {
    Fiber& fiber = block.fibers[i];
    const bool was_left = fiber.state != State::fresh && fiber.state != State::done;
    if (was_left) forget_frames(block.stacks.bottom(i), kStackBytes);
    fiber.state = State::fresh;
    fiber.generation = fiber.arrivals = fiber.waits = 0;
    ThreadState& thread = fiber.thread;
    thread.thread = Dim3(i % shape.block.x, i / shape.block.x % shape.block.y, i / shape.block.x / shape.block.y);
    thread.block =
        Dim3(static_cast<unsigned>(number % shape.grid.x), static_cast<unsigned>(number / shape.grid.x % shape.grid.y),
             static_cast<unsigned>(number / shape.grid.x / shape.grid.y));
    thread.block_size = shape.block;
    thread.grid_size = shape.grid;
    thread.linear = i;
    thread.rank = rank;
    thread.copies.clear();
    thread.products.clear();
    thread.copy_group = thread.product_group = 0;
    thread.warpgroup_arrived = thread.waited_for_previous = false;
  }
}

void run_cluster(Core& here, uint64_t number) {
  here.epoch++;
  fill_order(here.order, block_threads() * here.shape->run_together(), number + 1);
  for (unsigned rank = 0; rank < here.shape->run_together(); ++rank) {
    prepare_block(here, rank, number * here.shape->run_together() + rank);
  }
  run_threads(here);
}

}  // namespace

ThreadState& this_thread() { return core->running->thread; }
BlockTurn block_turn() { return {core->epoch, core->running->thread.rank}; }
SharedMemory& block_memory() { return core->running_block().shared; }
SharedMemory& block_memory(unsigned rank) { return core->blocks[rank]->shared; }
void* dynamic_shared(size_t& bytes) {
  bytes = block_memory().bytes();
  return block_memory().start();
}
void take_static_shared(size_t bytes) {
  constexpr size_t kMostStatic = 48 << 10;
  const size_t all = core->running_block().static_bytes += bytes, dynamic = core->shape->shared_bytes;
  if (all <= kMostStatic && all + dynamic <= options().shared_bytes()) return;
  kernel_error(str(all, " bytes of static and ", dynamic, " of dynamic shared memory, where a block has ",
                   options().shared_bytes(), ", ", kMostStatic, " of them for static arrays"));
}
void* core_memory(size_t bytes) {
  constexpr size_t kAlignment = 128;
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  core->memory.emplace_back(std::aligned_alloc(kAlignment, rounded));
  return std::memset(core->memory.back().get(), 0, rounded);
}
void kernel_error(const std::string& text) { fail("kernel ", where(), ": ", text); }

std::string where() {
  if (!core || !core->shape) return "";
  std::string text = core->shape->name;
  if (core->running) {
    const ThreadState& t = core->running->thread;
    text += str(", block (", t.block.x, ",", t.block.y, ",", t.block.z, ") thread (", t.thread.x, ",", t.thread.y, ",",
                t.thread.z, ")");
  }
  return text;
}

void ThreadState::PendingCopy::run() const {
  std::memcpy(to, from, from_bytes);
  std::memset(static_cast<char*>(to) + from_bytes, 0, bytes - from_bytes);
}

void block_barrier(int site) {
  Fiber& fiber = *core->running;
  fiber.barrier_site = site;
  fiber.state = State::at_barrier;
  yield();
}

void cluster_arrive() {
  Fiber& fiber = *core->running;
  if (fiber.arrivals > fiber.waits) kernel_error("arrives at the cluster's barrier twice without waiting there");
  ++fiber.arrivals;
}
void cluster_wait() {
  Fiber& fiber = *core->running;
  if (fiber.arrivals == fiber.waits) kernel_error("waits at the cluster's barrier without having arrived");
  ++fiber.waits;
  fiber.state = State::at_cluster;
  yield();
}
void wait_for_grid() {
  if (!core->shape->together) kernel_error("waits for the grid, but was not launched together()");
  cluster_arrive();
  cluster_wait();
}
int cluster_rank() { return core->shape->together ? 0 : static_cast<int>(this_thread().rank); }
int cluster_size() { return static_cast<int>(core->shape->cluster); }
void* of_block(const void* shared, int rank) {
  if (rank < 0 || rank >= cluster_size()) {
    kernel_error(str("of_block of block ", rank, " of a cluster of ", cluster_size()));
  }
  if (!block_memory().holds(shared)) kernel_error("of_block of an address outside of dynamic shared memory");
  const Block& there = *core->blocks[static_cast<size_t>(rank)];
  if (there.ended == block_threads()) kernel_error(str("of_block of block ", rank, " of the cluster, which has ended"));
  return there.shared.start() + (static_cast<const char*>(shared) - block_memory().start());
}

std::map<const void*, BlockPhases>& block_phases(unsigned rank) { return core->blocks[rank]->phases; }
void wait_at(const void* barrier, BlockPhases& phases) {
  Fiber& fiber = *core->running;
  fiber.phases = barrier;
  fiber.state = State::at_phase;
  ++phases.waiters;
  yield();
  --phases.waiters;
}
void wake_waiters(const void* barrier, unsigned rank) {
  Block& block = *core->blocks[rank];
  for (unsigned i = 0; i < block_threads(); ++i) {
    Fiber& fiber = block.fibers[i];
    if (fiber.state == State::at_phase && fiber.phases == barrier) fiber.state = State::ready;
  }
}

const unsigned char* exchange(unsigned mask, const void* payload, size_t bytes) {
  Fiber& fiber = *core->running;
  const unsigned lane = fiber.thread.linear % kWarpSize;
  if (mask != ~0u) kernel_error("a warp operation with a mask of some lanes: the emulator runs those of whole warps");
  Warp& warp = core->running_block().warps[fiber.thread.linear / kWarpSize];
  auto* place = warp.payload[fiber.generation % 2];
  if (bytes > 0) std::memcpy(place[lane], payload, bytes);
  ++fiber.generation;
  join_exchange(fiber, kWarpSize);
  return place[0];
}

void warpgroup_agree(const void* bytes, size_t count) {
  Fiber& fiber = *core->running;
  const unsigned first = fiber.thread.linear / kWarpgroup * kWarpgroup;
  if (first + kWarpgroup > block_threads()) kernel_error("is in no whole warpgroup of 128 threads");
  std::memcpy(fiber.agreed, bytes, count);
  for (unsigned i = first; i < first + kWarpgroup; ++i) {
    const Fiber& other = core->running_block().fibers[i];
    if (other.state != State::at_exchange || other.partners != kWarpgroup) continue;
    if (std::memcmp(fiber.agreed, other.agreed, count) == 0) break;
    kernel_error("multiplies other operands than " + thread_name(other) + " of its warpgroup");
  }
  join_exchange(fiber, kWarpgroup);
}

namespace {

std::set<std::string> launched;
std::mutex launched_mutex;

}  // namespace

const char* note_launch(const char* file, const char* words) {
  const std::string_view path(file);
  const size_t folder = path.rfind('/') + 1;
  std::string_view name(words,
                        std::strcspn(words, "<,"));  // of "fast ? a_kernel<1> : b_kernel" this is "fast ? a_kernel"
  name.remove_prefix(name.rfind(' ') + 1);
  const std::lock_guard lock(launched_mutex);
  return launched.insert(str(path.substr(folder), " ", name)).first->c_str() + path.size() - folder + 1;
}

std::vector<std::string> launched_kernels() {
  const std::lock_guard lock(launched_mutex);
  return {launched.begin(), launched.end()};
}

void run_grid(const LaunchShape& shape, const std::function<void()>& thread) {
  const uint64_t clusters = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z / shape.run_together();
  std::vector<unsigned> cluster_order;
  fill_order(cluster_order, clusters, 0);
  std::exception_ptr error;
  std::mutex error_mutex;
  std::atomic<bool> failed{false};
#pragma omp parallel for schedule(dynamic) if (clusters > 1)
  for (int64_t i = 0; i < static_cast<int64_t>(clusters); ++i) {
    if (failed) continue;
    static thread_local Core own;
    core = &own;
    own.shape = &shape;
    own.thread_function = &thread;
    own.error = nullptr;
    try {
      run_cluster(own, cluster_order[static_cast<size_t>(i)]);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error) error = std::current_exception();
      failed = true;
    }
    own.running = nullptr;
    own.shape = nullptr;
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace asap::emulate
