// Uniform and normal random numbers: the elements of tensor/random_elements.h, the same as the CPU's. A Philox block an
// element is some 100 integer operations: the card writes as fast as it computes them. Next: elementwise.cu.
#include "cuda/common.cuh"
#include "cuda/register.h"
#include "tensor/random_elements.h"

namespace asap::cuda {
namespace {

template <class T>
__global__ void uniform_kernel(RandomParams params, int64_t count, T* y) {
  for_each_index(count, [&](int64_t i) { y[i] = uniform_element<T>(params, static_cast<uint64_t>(i)); });
}
template <class T>
__global__ void normal_kernel(RandomParams params, int64_t count, T* y) {
  for_each_index(count, [&](int64_t i) { y[i] = normal_element<T>(params, static_cast<uint64_t>(i)); });
}

void uniform_naive(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_uniform", [&](auto tag) {
    using T = decltype(tag);
    launch(uniform_kernel<T>, {blocks_for(y.numel()), kBlock}, params, y.numel(), y.data<T>());
  });
}
void normal_naive(const RandomParams& params, Tensor& y) {
  dispatch_floating(y.dtype(), "random_normal", [&](auto tag) {
    using T = decltype(tag);
    launch(normal_kernel<T>, {blocks_for(y.numel()), kBlock}, params, y.numel(), y.data<T>());
  });
}

}  // namespace

void register_random() {
  kernels::random_uniform.add(Device::cuda, "naive", uniform_naive);
  kernels::random_normal.add(Device::cuda, "naive", normal_naive);
}

}  // namespace asap::cuda
