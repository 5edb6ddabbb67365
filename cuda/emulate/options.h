// What the emulated card is like and what the emulator looks for, from the environment (docs/cuda.md). Tests of the emulator
// change it between kernels.
#pragma once

#include <cstddef>

namespace asap::emulate {

// The order in which the threads of a block get their turn, and blocks of a grid theirs: results must not depend on it.
enum class ThreadOrder { forward, reverse, shuffle };

struct Options {
  ThreadOrder order;     // ASAP_EMULATE_ORDER
  bool copies_early;     // ASAP_EMULATE_COPIES=early: cp.async and wgmma read when they are issued, not when waited for
  bool queued;           // ASAP_EMULATE_QUEUE=1: work is done when the host waits for it
  bool sums_truncated;   // ASAP_EMULATE_SUMS=truncate: as tensor cores add
  bool kernels_skipped;  // ASAP_EMULATE_KERNELS=skip: launches are checked, device memory stays zero
  int multiprocessors;   // ASAP_EMULATE_MULTIPROCESSORS
  int capability;        // ASAP_EMULATE_CAPABILITY
  // Of one block, as the CUDA programming guide has it for each compute capability.
  size_t shared_bytes() const;
};
Options& options();

}  // namespace asap::emulate
