// Sum, mean and maximum over the middle of [outer, n, inner]. Sums are carried in double. Next: softmax.cpp.
#include <limits>

#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

// The maximum is NaN if one of the values is.
void reduce_naive(ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "reduce", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for (int64_t o = 0; o < p.outer; ++o) {
      for (int64_t i = 0; i < p.inner; ++i) {
        double sum = 0;
        T largest = -std::numeric_limits<T>::infinity();
        for (int64_t j = 0; j < p.n; ++j) {
          const T value = from[(o * p.n + j) * p.inner + i];
          sum += value;
          if (value > largest || value != value) largest = value;
        }
        if (op == ReduceOp::mean) sum /= static_cast<double>(p.n);
        to[o * p.inner + i] = op == ReduceOp::max ? largest : static_cast<T>(sum);
      }
    }
  });
}

}  // namespace

void register_reduce() { kernels::reduce.add(Device::cpu, "naive", reduce_naive); }

}  // namespace asap::cpu
