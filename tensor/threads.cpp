// Thread count of the CPU kernels, kept by OpenMP. Declared in threads.h.
#include "tensor/threads.h"

#include <omp.h>

#include "tensor/error.h"

namespace asap {

void set_num_threads(int count) {
  ASAP_CHECK(count >= 1, "set_num_threads: expected at least 1, got ", count);
  omp_set_num_threads(count);
}

int num_threads() { return omp_get_max_threads(); }

}  // namespace asap
