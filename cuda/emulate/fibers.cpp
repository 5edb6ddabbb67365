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

#include "cuda/emulate/memory.h"
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
constexpr unsigned kMaxThreads = 1024;

enum class State { fresh, ready, at_barrier, at_exchange, done };

struct Fiber {
  ThreadState thread;
  Context context;
  State state = State::fresh;
  int barrier_site = 0;
  unsigned generation = 0;  // of exchanges done: payloads alternate between two places
};

struct Warp {
  unsigned char payload[2][kWarpSize][kLanePayload];
};

// Stacks for the threads of one block, each with an unreachable page below it.
class Stacks {
 public:
  Stacks() {
    memory_ = static_cast<char*>(mmap(nullptr, kMaxThreads * kStride, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ASAP_CHECK(memory_ != MAP_FAILED, "emulate: no memory for the stacks of a block");
    for (unsigned i = 0; i < kMaxThreads; ++i) mprotect(memory_ + i * kStride, kPage, PROT_NONE);
  }
  ~Stacks() { munmap(memory_, kMaxThreads * kStride); }
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  void* bottom(unsigned thread) const { return memory_ + thread * kStride + kPage; }

 private:
  static constexpr size_t kStride = kStackBytes + kPage;
  char* memory_;
};

// One core: runs one block at a time.
struct Core {
  Stacks stacks;
  std::unique_ptr<Fiber[]> fibers{new Fiber[kMaxThreads]};
  std::unique_ptr<Warp[]> warps{new Warp[kMaxThreads / kWarpSize]};
  Context scheduler;
  Fiber* running = nullptr;
  const LaunchShape* shape = nullptr;
  const std::function<void()>* thread_function = nullptr;
  SharedMemory shared;
  std::vector<unsigned> order;
  uint64_t epoch = 0;
  std::exception_ptr error;
};

thread_local Core* core = nullptr;

ThreadOrder order_from_environment() {
  const char* text = std::getenv("ASAP_EMULATE_ORDER");
  const std::string wanted = text ? text : "forward";
  if (wanted == "reverse") return ThreadOrder::reverse;
  if (wanted == "shuffle") return ThreadOrder::shuffle;
  ASAP_CHECK(wanted == "forward", "ASAP_EMULATE_ORDER: expected forward, reverse or shuffle, came '", wanted, "'");
  return ThreadOrder::forward;
}

std::atomic<ThreadOrder>& thread_order() {
  static std::atomic<ThreadOrder> order{order_from_environment()};
  return order;
}

// 0..count-1 in the order of the day; shuffled by `seed`, so that a run can be repeated.
void fill_order(std::vector<unsigned>& order, size_t count, uint64_t seed) {
  order.resize(count);
  std::iota(order.begin(), order.end(), 0u);
  if (thread_order() == ThreadOrder::reverse) std::reverse(order.begin(), order.end());
  if (thread_order() == ThreadOrder::shuffle) std::shuffle(order.begin(), order.end(), std::mt19937_64(seed));
}

// The first thing on a fiber's stack.
void fiber_entry() {
  Core& here = *core;
  Fiber& fiber = *here.running;
  arrived(fiber.context, &here.scheduler);
  try {
    (*here.thread_function)();
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

// Wakes the warp whose operation `fiber` has joined if all its lanes have arrived.
void release_exchange(Core& here, Fiber& fiber) {
  const unsigned first = fiber.thread.linear / kWarpSize * kWarpSize,
                 end = std::min(first + kWarpSize, block_threads());
  for (unsigned i = first; i < end; ++i) {
    if (here.fibers[i].state != State::at_exchange) return;
  }
  for (unsigned i = first; i < end; ++i) here.fibers[i].state = State::ready;
}

std::string thread_name(const Fiber& fiber) {
  return str("thread (", fiber.thread.thread.x, ",", fiber.thread.thread.y, ",", fiber.thread.thread.z, ")");
}

// No thread can run: all wait at one barrier, or something is wrong.
void release_barrier(Core& here) {
  const unsigned count = block_threads();
  const Fiber* waiting = nullptr;
  for (unsigned i = 0; i < count; ++i) {
    if (here.fibers[i].state == State::at_barrier) waiting = &here.fibers[i];
  }
  for (unsigned i = 0; i < count; ++i) {
    const Fiber& fiber = here.fibers[i];
    if (fiber.state == State::at_exchange) {
      fail("kernel ", where(), ": ", thread_name(fiber), " waits for lanes of its warp that never come");
    }
    if (fiber.state == State::done) {
      fail("kernel ", where(), ": ", thread_name(fiber), " has ended, but ", thread_name(*waiting),
           " waits at a barrier (", waiting->barrier_site, ")");
    }
    if (fiber.barrier_site != waiting->barrier_site) {
      fail("kernel ", where(), ": ", thread_name(fiber), " and ", thread_name(*waiting),
           " wait at different barriers (", fiber.barrier_site, " and ", waiting->barrier_site, ")");
    }
  }
  for (unsigned i = 0; i < count; ++i) here.fibers[i].state = State::ready;
}

void resume(Core& here, unsigned i) {
  Fiber& fiber = here.fibers[i];
  if (fiber.state == State::fresh) prepare(fiber.context, here.stacks.bottom(i), kStackBytes, fiber_entry);
  fiber.state = State::ready;
  here.running = &fiber;
  switch_context(here.scheduler, fiber.context);
  here.running = nullptr;
}

void run_threads(Core& here) {
  const unsigned count = block_threads();
  for (unsigned done = 0; done < count;) {
    bool progress = false;
    done = 0;
    for (const unsigned i : here.order) {
      const State state = here.fibers[i].state;
      if (state == State::fresh || state == State::ready) {
        resume(here, i);
        if (here.error) std::rethrow_exception(here.error);
        progress = true;
      }
      done += here.fibers[i].state == State::done;
    }
    if (!progress && done < count) release_barrier(here);
  }
}

void run_block(Core& here, const LaunchShape& shape, uint64_t number) {
  const Dim3 block(static_cast<unsigned>(number % shape.grid.x),
                   static_cast<unsigned>(number / shape.grid.x % shape.grid.y),
                   static_cast<unsigned>(number / shape.grid.x / shape.grid.y));
  here.epoch++;
  here.shared.start_block(shape.shared_bytes);
  fill_order(here.order, shape.block.count(), number + 1);
  for (unsigned i = 0; i < shape.block.count(); ++i) {
    Fiber& fiber = here.fibers[i];
    fiber.state = State::fresh;
    fiber.generation = 0;
    fiber.thread.thread = Dim3(i % shape.block.x, i / shape.block.x % shape.block.y, i / shape.block.x / shape.block.y);
    fiber.thread.block = block;
    fiber.thread.block_size = shape.block;
    fiber.thread.grid_size = shape.grid;
    fiber.thread.linear = i;
    fiber.thread.copies.clear();
    fiber.thread.copy_group = 0;
  }
  run_threads(here);
}

void check_shape(const LaunchShape& shape) {
  const auto fits = [](const Dim3& d, unsigned x, unsigned yz) {
    return d.x >= 1 && d.y >= 1 && d.z >= 1 && d.x <= x && d.y <= yz && d.z <= yz;
  };
  ASAP_CHECK(fits(shape.grid, 0x7FFFFFFFu, 65535) && fits(shape.block, 1024, 1024) && shape.block.z <= 64 &&
                 shape.block.count() <= kMaxThreads,
             "kernel ", shape.name, ": a grid of ", shape.grid.x, "x", shape.grid.y, "x", shape.grid.z, " blocks of ",
             shape.block.x, "x", shape.block.y, "x", shape.block.z, " threads cannot be launched");
  constexpr size_t kMostShared = 227 << 10;
  ASAP_CHECK(shape.shared_bytes <= kMostShared, "kernel ", shape.name, ": ", shape.shared_bytes,
             " bytes of shared memory are more than the ", kMostShared, " of a block");
}

}  // namespace

ThreadState& this_thread() { return core->running->thread; }
uint64_t block_epoch() { return core->epoch; }
void* dynamic_shared(size_t& bytes) { return core->shared.start(bytes); }
void set_thread_order(ThreadOrder order) { thread_order() = order; }
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

void block_barrier(int site) {
  Fiber& fiber = *core->running;
  fiber.barrier_site = site;
  fiber.state = State::at_barrier;
  yield();
}

const unsigned char* exchange(unsigned mask, const void* payload, size_t bytes) {
  Core& here = *core;
  Fiber& fiber = *here.running;
  const unsigned lane = fiber.thread.linear % kWarpSize;
  if (mask != ~0u) kernel_error("a warp operation with a mask of some lanes: the emulator runs those of whole warps");
  Warp& warp = here.warps[fiber.thread.linear / kWarpSize];
  auto* place = warp.payload[fiber.generation % 2];
  if (bytes > 0) std::memcpy(place[lane], payload, bytes);
  ++fiber.generation;
  fiber.state = State::at_exchange;
  release_exchange(here, fiber);
  if (fiber.state != State::ready) yield();
  return place[0];
}

void run_grid(const LaunchShape& shape, const std::function<void()>& thread) {
  check_shape(shape);
  const DeviceAccess access;
  const uint64_t blocks = uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z;
  std::vector<unsigned> block_order;
  fill_order(block_order, blocks, 0);
  std::exception_ptr error;
  std::mutex error_mutex;
  std::atomic<bool> failed{false};
#pragma omp parallel for schedule(dynamic) if (blocks > 1)
  for (int64_t i = 0; i < static_cast<int64_t>(blocks); ++i) {
    if (failed) continue;
    static thread_local Core own;
    core = &own;
    own.shape = &shape;
    own.thread_function = &thread;
    own.error = nullptr;
    try {
      run_block(own, shape, block_order[static_cast<size_t>(i)]);
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
