// What the variants of this folder share: a library opened at run time, and the choice among its algorithms.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <string>

namespace asap::cuda {

// common.cuh's, which a host compiler cannot read.
cudaStream_t stream();

// A shared library: where the loader looks (LD_LIBRARY_PATH), else in the toolkit's usual folder. Never closed. asap::Error if
// there is none, or if it lacks a function that is asked for.
class SharedLibrary {
 public:
  explicit SharedLibrary(const std::string& name);
  // The function's address, to be assigned to a pointer of its type.
  struct Address {
    void* address;
    template <class F>
    operator F*() const {
      return reinterpret_cast<F*>(address);
    }
  };
  Address operator[](const char* function) const;

 private:
  std::string name_;
  void* library_;
};

// In a struct with a SharedLibrary `library`: a member with the name and the type of one of its functions.
#define ASAP_LIBRARY_FUNCTION(name) decltype(&::name) name = library[#name]

// The number of the fastest of `count` algorithms, each timed from an empty cache, as bench_ops does; likely ones come first,
// and no further one is tried once half a second is spent. run(i) says whether algorithm i could be queued.
size_t fastest(size_t count, const std::function<bool(size_t)>& run);

}  // namespace asap::cuda
