// The engine that executes CUDA kernels on the CPU: every thread of a block is a fiber with a stack of its own, and blocks
// run side by side on the machine's cores. A fiber runs until it waits (block barrier, warp operation) or ends; then the
// next one runs. Nothing is lockstep, so a missing barrier shows in one of the orders (options.h). The blocks of a
// cluster, and all blocks of a grid that waits for itself, take turns on one core.
// Found out and reported as asap::Error naming the kernel, block and thread: barriers that not all threads of a block
// reach, warp operations whose lanes never arrive, accesses outside of shared arrays. Accesses outside of device memory
// end the program with a message (memory.h). Next: cuda_runtime.h, what kernels see; memory.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace asap::emulate {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr Dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  unsigned count() const { return x * y * z; }
};

constexpr int kWarpSize = 32;
constexpr unsigned kMaxCluster = 16;
constexpr size_t kLanePayload = 64;  // bytes that a lane hands to the others of its warp in one operation

// What a running thread sees of itself.
struct ThreadState {
  Dim3 thread, block, block_size, grid_size;
  unsigned linear = 0;  // thread's number in its block
  unsigned rank = 0;    // block's number among those that run together
  struct PendingCopy {  // cp.async: done when waited for, so that a missing wait shows; or when issued (options.h)
    void* to;
    const void* from;
    size_t bytes, from_bytes;
    unsigned group;
    void run() const;
  };
  std::vector<PendingCopy> copies;
  unsigned copy_group = 0;  // of copies not yet committed
  struct PendingProduct {   // wgmma: done when waited for; until then d holds NaN and `start` what it held
    float* d;
    int n;
    uint64_t a, b;
    bool accumulate;
    unsigned group;
    std::vector<float> start;      // empty if an earlier product with this d is pending
    std::vector<float> rows = {};  // this thread's two rows of A where it came from registers; B is then in rows of k
    bool done = false;             // when it was issued
  };
  std::vector<PendingProduct> products;
  unsigned product_group = 0;
  bool warpgroup_arrived = false;
  bool waited_for_previous = false;  // for the kernel ahead
};
ThreadState& this_thread();

struct LaunchShape {
  Dim3 grid, block;
  size_t shared_bytes = 0;
  unsigned cluster = 1;   // blocks along x that run together
  bool overlaps = false;  // its threads must wait for the kernel ahead
  bool together = false;  // all blocks run together
  unsigned run_together() const { return together ? grid.count() : cluster; }
  const char* name = "kernel";
};
// The name of the kernel that `words` begin with, for LaunchShape; notes it as "file name", file without folder.
const char* note_launch(const char* file, const char* words);
// All that were noted.
std::vector<std::string> launched_kernels();
// Runs thread() for every thread of the grid; returns when all have ended. Throws what a kernel did wrong. The shape is one
// that a card can launch.
void run_grid(const LaunchShape& shape, const std::function<void()>& thread);

// Waits for all threads of the block. `site` tells barriers apart: all threads must wait at the same one.
void block_barrier(int site);
// Waits for the lanes of the warp, each of which hands over `bytes` (at most kLanePayload). Returns the payloads of its
// lanes, kLanePayload apart, valid until the calling lane's next warp operation. `mask` must name all 32 lanes.
const unsigned char* exchange(unsigned mask, const void* payload, size_t bytes);

// Waits for the 128 threads of the warpgroup; all must come with the same bytes (at most kAgreedBytes).
constexpr size_t kAgreedBytes = 32;
void warpgroup_agree(const void* bytes, size_t count);

// The halves of the barrier of a cluster, its number of blocks, and the place in its block `rank` of what stands in this
// block's dynamic shared memory.
void cluster_arrive();
void cluster_wait();
int cluster_rank();
// Waits for all threads of a grid launched together.
void wait_for_grid();
int cluster_size();
void* of_block(const void* shared, int rank);

// The barriers with phases (phase_barrier.h) of the cluster's block `rank`, by their place in shared memory. The calling thread
// waits at one of its own block until someone wakes all that wait there.
struct TileMap;
struct BlockPhases {
  struct Copy {
    char* to;
    const TileMap* map;
    int first_row, first_column;
  };
  int count = 0, arrivals_missing = 0;  // of the current phase
  int64_t bytes_missing = 0;
  unsigned phase = 0, waiters = 0;
  std::vector<Copy> copies = {};  // not done yet
};
std::map<const void*, BlockPhases>& block_phases(unsigned rank);
void wait_at(const void* barrier, BlockPhases& phases);
void wake_waiters(const void* barrier, unsigned rank);

// The block's dynamic shared memory and its size; NaN when the block starts.
void* dynamic_shared(size_t& bytes);
class SharedMemory;
SharedMemory& block_memory();
SharedMemory& block_memory(unsigned rank);  // of the cluster's block `rank`
// Changes for every block that a core starts: static shared arrays then hold NaN again. One for each block that runs beside
// others.
struct BlockTurn {
  uint64_t epoch;
  unsigned rank;
};
BlockTurn block_turn();
// Counts a static array that the block uses; what a card has for a block must hold all of them and the dynamic shared memory.
void take_static_shared(size_t bytes);
// Zeros aligned to 128 that live as long as this core.
void* core_memory(size_t bytes);
[[noreturn]] void kernel_error(const std::string& text);

// The kernel, block and thread that run on this core, for error texts; "" outside of kernels.
std::string where();

}  // namespace asap::emulate
