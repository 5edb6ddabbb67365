// Uniform random numbers: `parallel` is the definition's element in a loop that compiles to vector instructions.
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/definitions/random.h"

namespace asap::cpu {
namespace {

void uniform_parallel(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_uniform", [&](auto tag) {
    using T = decltype(tag);
    T* to = y.data<T>();
    parallel_for(y.numel(), 4096, [&](int64_t begin, int64_t end) {
      const definitions::Uniform element{params, sizeof(T) == 8};
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(element(i));
    });
  });
}

}  // namespace

void register_random() { kernels::random_uniform.add(Device::cpu, "parallel", uniform_parallel); }

}  // namespace asap::cpu
