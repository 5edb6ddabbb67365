// The engine that executes CUDA kernels on the CPU: every thread of a block is a fiber with a stack of its own, and blocks
// run side by side on the machine's cores. A fiber runs until it waits (block barrier, warp operation) or ends; then the
// next one runs. Nothing is lockstep, so a missing barrier shows in one of the orders (set_thread_order).
// Found out and reported as asap::Error naming the kernel, block and thread: barriers that not all threads of a block
// reach, warp operations whose lanes never arrive, accesses outside of shared arrays. Accesses outside of device memory
// end the program with a message (memory.h). Next: cuda_runtime.h, what kernels see; memory.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace asap::emulate {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned count() const { return x * y * z; }
};

constexpr int kWarpSize = 32;
constexpr size_t kLanePayload = 64;  // bytes that a lane hands to the others of its warp in one operation

// What a running thread sees of itself.
struct ThreadState {
  Dim3 thread, block, block_size, grid_size;
  unsigned linear = 0;  // thread's number in its block
  struct PendingCopy {  // cp.async: done when waited for, so that a missing wait leaves old values behind
    void* to;
    const void* from;
    size_t bytes, from_bytes;
    unsigned group;
  };
  std::vector<PendingCopy> copies;
  unsigned copy_group = 0;  // of copies not yet committed
};
ThreadState& this_thread();

struct LaunchShape {
  Dim3 grid, block;
  size_t shared_bytes = 0;
  unsigned cluster = 1;   // blocks along x that run together
  bool overlaps = false;  // its threads must wait for the kernel ahead
  const char* name = "kernel";
};
// Runs thread() for every thread of the grid; returns when all have ended. Throws what a kernel did wrong.
void run_grid(const LaunchShape& shape, const std::function<void()>& thread);

// Waits for all threads of the block. `site` tells barriers apart: all threads must wait at the same one.
void block_barrier(int site);
// Waits for the lanes of the warp, each of which hands over `bytes` (at most kLanePayload). Returns the payloads of its
// lanes, kLanePayload apart, valid until the calling lane's next warp operation. `mask` must name all 32 lanes.
const unsigned char* exchange(unsigned mask, const void* payload, size_t bytes);

// The block's dynamic shared memory and its size; NaN when the block starts.
void* dynamic_shared(size_t& bytes);
// Changes for every block that a core starts: static shared arrays then hold NaN again.
uint64_t block_epoch();
[[noreturn]] void kernel_error(const std::string& text);

// The order in which the threads of a block get their turn, and blocks of a grid theirs: results must not depend on it.
// Also by environment: ASAP_EMULATE_ORDER=forward|reverse|shuffle (default forward).
enum class ThreadOrder { forward, reverse, shuffle };
void set_thread_order(ThreadOrder order);

// The kernel, block and thread that run on this core, for error texts; "" outside of kernels.
std::string where();

}  // namespace asap::emulate
