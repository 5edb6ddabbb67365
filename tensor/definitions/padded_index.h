// Where a padded axis reads: the one definition of PadMode, which the padding, the convolutions and the inference kernels of
// both backends share. constexpr, so that nvcc takes it into kernels too. Next: kernels.h.
#pragma once

#include "tensor/kernels.h"

namespace asap {

// Which of 0..n-1 the position i in or around it reads; -1 where it reads zero, as it does wherever a reflection would
// fall outside again.
template <class Int>
[[gnu::always_inline]] constexpr Int padded_index(Int i, Int n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  if (mode == PadMode::replicate) return i < 0 ? 0 : n - 1;
  if (mode == PadMode::zero) return -1;
  const Int reflected = i < 0 ? -i : 2 * (n - 1) - i;
  return reflected >= 0 && reflected < n ? reflected : -1;
}

}  // namespace asap
