// Sum, mean and maximum over the middle of [outer, n, inner]. Sums are carried in double, as the CPU's: a conversion and
// an addition for each 4 bytes read stay below what memory allows. Next: softmax.cu.
#include <limits>

#include "cuda/common.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// ---- naive ----------------------------------------------------------------------------------------------------------

template <class T>
__global__ void reduce_kernel(ReduceOp op, const T* x, AxisParams p, T* y) {
  for_each_index(p.outer * p.inner, [&](int64_t k) {
    const T* from = x + k / p.inner * p.n * p.inner + k % p.inner;
    double sum = 0;
    T largest = -std::numeric_limits<T>::infinity();
    for (int64_t j = 0; j < p.n; ++j) {
      const T value = from[j * p.inner];
      sum += value;
      largest = Max{}(value, largest);
    }
    if (op == ReduceOp::mean) sum /= static_cast<double>(p.n);
    y[k] = op == ReduceOp::max ? largest : static_cast<T>(sum);
  });
}

void reduce_naive(ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "reduce", [&](auto tag) {
    using T = decltype(tag);
    launch(reduce_kernel<T>, {blocks_for(p.outer * p.inner), kBlock}, op, x.data<T>(), p, y.data<T>());
  });
}

}  // namespace

void register_reduce() { kernels::reduce.add(Device::cuda, "naive", reduce_naive); }

}  // namespace asap::cuda
