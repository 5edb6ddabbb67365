// parallel_for: a range of independent work over the OpenMP threads. Which thread does what never changes a result:
// every output element is computed by one thread in one order.
// Use set_num_threads (threads.h) to choose how many.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace asap::cpu {

// Calls f(begin, end) on disjoint parts of [0, n), each at least `grain` long. Nested calls run in the caller's thread.
template <class F>
void parallel_for(int64_t n, int64_t grain, const F& f) {
  if (n <= 0) return;
  const int64_t parts = std::min<int64_t>(omp_get_max_threads(), (n + grain - 1) / std::max<int64_t>(grain, 1));
  if (parts <= 1 || omp_in_parallel()) {
    f(int64_t{0}, n);
    return;
  }
  std::exception_ptr error;
#pragma omp parallel num_threads(static_cast<int>(parts))
  {
    const int64_t part = omp_get_thread_num(), count = omp_get_num_threads();
    const int64_t begin = n * part / count, end = n * (part + 1) / count;
    try {
      if (begin < end) f(begin, end);
    } catch (...) {
#pragma omp critical(asap_parallel_for_error)
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace asap::cpu
