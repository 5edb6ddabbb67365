// Thread count of the CPU kernels, kept by OpenMP. Declared in threads.h.
#include "tensor/threads.h"

#include <omp.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "tensor/error.h"

namespace asap {

namespace {
int share_of_cores = 0;  // 0: all of them
}

void set_num_threads(int count) {
  ASAP_CHECK(count >= 1, "set_num_threads: expected at least 1, got ", count);
#if defined(__SANITIZE_THREAD__)
  count = 1;  // ThreadSanitizer does not know libgomp's barriers: with one thread there are none to misread
#endif
  omp_set_num_threads(count);
}

int num_threads() { return omp_get_max_threads(); }

int default_threads() {
  return share_of_cores > 0 ? share_of_cores : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void set_default_threads(int count) {
  set_num_threads(count);
  share_of_cores = count;
}

void let_waiting_threads_sleep(char** argv) {
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  setenv("OMP_WAIT_POLICY", "passive", 1);
  execv("/proc/self/exe", argv);  // comes back only if there is no /proc: then nothing is lost but speed
}

}  // namespace asap
