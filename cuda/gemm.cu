// Batched matrix product y[i] = op(a[i]) op(b[i]) on the card, contract in tensor/kernels.h: the definition.
#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

struct Sizes {
  int64_t batch, m, n, k;
  int64_t step_a, step_b;  // elements from one batch to the next; 0 where the batch is shared
};
Sizes sizes_of(const Tensor& a, const Tensor& b, const GemmParams& p, const Tensor& y) {
  return {.batch = y.size(0),
          .m = y.size(1),
          .n = y.size(2),
          .k = a.size(p.transpose_a ? 1 : 2),
          .step_a = a.size(0) == 1 ? 0 : a.size(1) * a.size(2),
          .step_b = b.size(0) == 1 ? 0 : b.size(1) * b.size(2)};
}

// One element of y a thread.
template <class T>
__global__ void naive_kernel(const T* a, const T* b, Sizes s, GemmParams p, T* y) {
  for_each_index(s.batch * s.m * s.n, [&](int64_t element) {
    const int64_t n = element % s.n, m = element / s.n % s.m, i = element / s.n / s.m;
    const T *ai = a + i * s.step_a, *bi = b + i * s.step_b;
    T sum = 0;
    for (int64_t k = 0; k < s.k; ++k) {
      sum += (p.transpose_a ? ai[k * s.m + m] : ai[m * s.k + k]) * (p.transpose_b ? bi[n * s.k + k] : bi[k * s.n + n]);
    }
    y[element] = p.accumulate ? y[element] + sum : sum;
  });
}

void gemm_naive(const Tensor& a, const Tensor& b, const GemmParams& p, Tensor& y) {
  dispatch_floating(a.dtype(), "gemm", [&]<class T>(T) {
    launch(naive_kernel<T>, {blocks_for(y.numel()), kBlock}, a.data<T>(), b.data<T>(), sizes_of(a, b, p, y), p,
           y.data<T>());
  });
}

}  // namespace

void register_gemm() { kernels::gemm.add(Device::cuda, "naive", gemm_naive); }

}  // namespace asap::cuda
