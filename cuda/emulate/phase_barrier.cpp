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

size_t place_of(const void* p) { return static_cast<size_t>(static_cast<const char*>(p) - block_memory().start()); }

BlockPhases& known(uint64_t* barrier, const char* what) {
  auto& all = block_phases();
  const auto found = block_memory().holds(barrier) ? all.find(barrier) : all.end();
  if (found == all.end()) kernel_error(str(what, " at a barrier that was not begun with begin_phases()"));
  if (*barrier != kMark) kernel_error(str(what, " at a barrier that was overwritten, ", place_of(barrier), " bytes into shared memory"));
  return found->second;
}

// Rows of 128 bytes, chunk c of row r at c ^ (r % 8); zeros outside of the matrix.
void run(const BlockPhases::Copy& copy) {
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
  block_memory().show(place_of(copy.to), static_cast<size_t>(map.tile_rows) * kRowBytes);
}

// Does the copies that are under way, and ends the phase if nothing is missing any more.
void settle(uint64_t* barrier, BlockPhases& phases) {
  for (const auto& copy : std::exchange(phases.copies, {})) {
    run(copy);
    phases.bytes_missing -= int64_t{copy.map->tile_rows} * kRowBytes;
  }
  if (phases.arrivals_missing > 0 || phases.bytes_missing != 0) return;
  phases.arrivals_missing = phases.count;
  ++phases.phase;
  block_memory().barrier();
  wake_waiters(barrier);
}

}  // namespace

void begin_phases(uint64_t* barrier, int count) {
  if (!block_memory().holds(barrier) || place_of(barrier) % sizeof *barrier != 0) {
    kernel_error("begin_phases() of a barrier that is not 8 aligned bytes of dynamic shared memory");
  }
  *barrier = kMark;
  block_phases()[barrier] = {.count = count, .arrivals_missing = count};
}

void arrive(uint64_t* barrier, int bytes) {
  BlockPhases& phases = known(barrier, "arrives");
  if (phases.arrivals_missing-- == 0) kernel_error("arrives at a phase that all have arrived at, and bytes are missing");
  phases.bytes_missing += bytes;
  if (phases.waiters > 0 || options().copies_early) settle(barrier, phases);
}

void wait_for_phase(uint64_t* barrier, int parity) {
  BlockPhases& phases = known(barrier, "waits");
  settle(barrier, phases);
  while (static_cast<int>(phases.phase % 2) == parity) wait_at(barrier, phases);
}

void copy_tile(void* to, const TileMap& map, int first_row, int first_column, uint64_t* barrier) {
  BlockPhases& phases = known(barrier, "copies a tile that arrives");
  const size_t bytes = static_cast<size_t>(map.tile_rows) * kRowBytes;
  SharedMemory& shared = block_memory();
  if (!shared.holds(to) || place_of(to) + bytes > shared.bytes()) kernel_error("copies a tile outside of dynamic shared memory");
  if (!shared.is_aligned() || place_of(to) % kPatternBytes != 0) {
    kernel_error(str("copies a tile to ", place_of(to), " bytes into shared memory: it must be a multiple of 1024 from aligned_shared()"));
  }
  phases.copies.push_back({static_cast<char*>(to), &map, first_row, first_column});
  if (phases.waiters > 0 || options().copies_early) settle(barrier, phases);
}

}  // namespace asap::emulate
