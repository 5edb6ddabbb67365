// Declared in phase_barrier.h.
#include "cuda/emulate/phase_barrier.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cuda/emulate/fibers.h"
#include "cuda/emulate/memory.h"
#include "cuda/emulate/options.h"
#include "tensor/error.h"

namespace asap::emulate {
namespace {

constexpr uint64_t kMark = 0x70686173652E2E2E;  // what a barrier holds in shared memory
constexpr int kRowBytes = 128, kPatternBytes = 1024, kChunkBytes = 16, kChunks = kRowBytes / kChunkBytes;

unsigned own_rank() { return this_thread().rank; }

// Of the cluster's block `rank`, as all that follows.
size_t place_of(const void* p, unsigned rank) {
  return static_cast<size_t>(static_cast<const char*>(p) - block_memory(rank).start());
}

BlockPhases& known(uint64_t* barrier, unsigned rank, const char* what) {
  auto& all = block_phases(rank);
  const auto found = block_memory(rank).holds(barrier) ? all.find(barrier) : all.end();
  if (found == all.end()) kernel_error(str(what, " at a barrier that was not begun with begin_phases()"));
  if (*barrier != kMark) {
    kernel_error(str(what, " at a barrier that was overwritten, ", place_of(barrier, rank), " bytes into shared memory"));
  }
  return found->second;
}

// Rows of 128 bytes, chunk c of row r at c ^ (r % 8); zeros outside of the matrix.
void run(const BlockPhases::Copy& copy, unsigned rank) {
  const TileMap& map = *copy.map;
  for (int row = 0; row < map.tile_rows; ++row) {
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      char values[kChunkBytes] = {};
      const int64_t r = copy.first_row + row, c = copy.first_column + chunk * (kChunkBytes / 2);
      const auto there = static_cast<size_t>(std::clamp<int64_t>((map.columns - c) * 2, 0, kChunkBytes));
      if (r >= 0 && r < map.rows && c >= 0) std::memcpy(values, map.matrix + r * map.row_bytes + c * 2, there);
      std::memcpy(copy.to + row * kRowBytes + (chunk ^ row % 8) * kChunkBytes, values, kChunkBytes);
    }
  }
  block_memory(rank).show(place_of(copy.to, rank), static_cast<size_t>(map.tile_rows) * kRowBytes);
}

// Does the copies that are under way, and ends the phase if nothing is missing any more.
void settle(uint64_t* barrier, unsigned rank, BlockPhases& phases) {
  for (const auto& copy : std::exchange(phases.copies, {})) {
    run(copy, rank);
    phases.bytes_missing -= int64_t{copy.map->tile_rows} * kRowBytes;
  }
  if (phases.arrivals_missing > 0 || phases.bytes_missing != 0) return;
  phases.arrivals_missing = phases.count;
  ++phases.phase;
  block_memory(rank).barrier();
  wake_waiters(barrier, rank);
}

void arrive(uint64_t* barrier, unsigned rank, int bytes) {
  BlockPhases& phases = known(barrier, rank, "arrives");
  if (phases.arrivals_missing == 0) settle(barrier, rank, phases);
  if (phases.arrivals_missing-- == 0) kernel_error("arrives at a phase that all have arrived at, and bytes are missing");
  phases.bytes_missing += bytes;
  if (phases.waiters > 0 || phases.copies.empty() || options().copies_early) settle(barrier, rank, phases);
}

void copy_tile(void* to, const TileMap& map, int first_row, int first_column, uint64_t* barrier, unsigned rank) {
  BlockPhases& phases = known(barrier, rank, "copies a tile that arrives");
  const size_t bytes = static_cast<size_t>(map.tile_rows) * kRowBytes;
  SharedMemory& shared = block_memory(rank);
  if (!shared.holds(to) || place_of(to, rank) + bytes > shared.bytes()) {
    kernel_error("copies a tile outside of dynamic shared memory");
  }
  if (!shared.is_aligned() || place_of(to, rank) % kPatternBytes != 0) {
    kernel_error(str("copies a tile to ", place_of(to, rank),
                     " bytes into shared memory: it must be a multiple of 1024 from aligned_shared()"));
  }
  phases.copies.push_back({static_cast<char*>(to), &map, first_row, first_column});
  if (phases.waiters > 0 || options().copies_early) settle(barrier, rank, phases);
}

}  // namespace

void begin_phases(uint64_t* barrier, int count) {
  if (!block_memory().holds(barrier) || place_of(barrier, own_rank()) % sizeof *barrier != 0) {
    kernel_error("begin_phases() of a barrier that is not 8 aligned bytes of dynamic shared memory");
  }
  *barrier = kMark;
  block_phases(own_rank())[barrier] = {.count = count, .arrivals_missing = count};
}

void arrive(uint64_t* barrier, int bytes) { arrive(barrier, own_rank(), bytes); }
void arrive_at_block(uint64_t* barrier, int rank) {
  arrive(static_cast<uint64_t*>(of_block(barrier, rank)), static_cast<unsigned>(rank), 0);
}

void wait_for_phase(uint64_t* barrier, int parity) {
  BlockPhases& phases = known(barrier, own_rank(), "waits");
  settle(barrier, own_rank(), phases);
  while (static_cast<int>(phases.phase % 2) == parity) wait_at(barrier, phases);
}

void copy_tile(void* to, const TileMap& map, int first_row, int first_column, uint64_t* barrier) {
  copy_tile(to, map, first_row, first_column, barrier, own_rank());
}
void copy_tile_to_blocks(void* to, const TileMap& map, int first_row, int first_column, uint64_t* barrier, int blocks) {
  for (int rank = 0; rank < blocks; ++rank) {
    copy_tile(of_block(to, rank), map, first_row, first_column, static_cast<uint64_t*>(of_block(barrier, rank)),
              static_cast<unsigned>(rank));
  }
}

}  // namespace asap::emulate
