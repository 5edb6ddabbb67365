// Opening a library, timing its algorithms. Declared in library.h.
#include "bench/yardsticks/library.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>

#include "bench/yardsticks/peak.h"
#include "cuda/context.h"
#include "tensor/error.h"

namespace asap::cuda {

SharedLibrary::SharedLibrary(const std::string& name) : name_(name), library_(dlopen(name.c_str(), RTLD_NOW)) {
  if (library_) return;
  const std::string reason = dlerror();
  library_ = dlopen(("/usr/local/cuda/lib64/" + name).c_str(), RTLD_NOW);
  ASAP_CHECK(library_, reason, "; its variants are left out");
}

SharedLibrary::Address SharedLibrary::operator[](const char* function) const {
  void* const address = dlsym(library_, function);
  ASAP_CHECK(address, name_, " has no function ", function, "; its variants are left out");
  return {address};
}

size_t fastest(size_t count, const std::function<bool(size_t)>& run) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRepetitions = 5;
  constexpr std::chrono::duration<double> kLongest{0.5};
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  ASAP_CHECK(cudaStreamIsCapturing(stream(), &capture) == cudaSuccess && capture == cudaStreamCaptureStatusNone,
             "yardsticks: algorithms cannot be timed while a graph is recorded");
  Timer timer;
  size_t best = count;
  double best_seconds = 0;
  const auto begin = Clock::now();
  for (size_t i = 0; i < count && (best == count || Clock::now() - begin < kLongest); ++i) {
    if (!run(i)) continue;  // the first run also loads the kernel
    double seconds = 1e30;
    for (int repetition = 0; repetition < kRepetitions; ++repetition) {
      flush_cache();
      timer.start();
      run(i);
      seconds = std::min(seconds, timer.stop());
    }
    if (best == count || seconds < best_seconds) best = i, best_seconds = seconds;
  }
  ASAP_CHECK(best < count, "yardsticks: none of the library's ", count, " algorithms runs");
  return best;
}

}  // namespace asap::cuda
