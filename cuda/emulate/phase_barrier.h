// Barriers with phases (mbarrier) and copies of tiles (TMA) under emulation; stands behind ../hopper.cuh. A copy is done when
// somebody waits for the barrier that it arrives at (or, with ASAP_EMULATE_COPIES=early, when it is issued). Checked on the way:
// that barriers lie in dynamic shared memory, were begun and not overwritten, that no more arrive than a phase has, where tiles
// lie, that what they read is device memory. A phase that is never complete is an error that says what is missing.
#pragma once

#include <cstdint>

namespace asap::emulate {

void begin_phases(uint64_t* barrier, int count);
void arrive(uint64_t* barrier, int bytes);
void wait_for_phase(uint64_t* barrier, int parity);

struct TileMap {
  const char* matrix;
  int64_t rows, columns, row_bytes;
  int tile_rows;
};
void copy_tile(void* to, const TileMap& map, int first_row, int first_column, uint64_t* barrier);

}  // namespace asap::emulate
