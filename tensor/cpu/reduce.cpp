// Sum, mean and maximum over the middle of [outer, n, inner]. Sums are carried in double: converting costs nothing
// where memory is the limit, and the result is right to the last float bit. Next: matmul.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/reduce.cpp"
#include "tensor/cpu/targets.h"

#include <limits>

#include "tensor/cpu/reduce_run.h"
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

// The axis is cut into blocks whose size does not depend on the number of threads, so neither do the results.

// The reduction of one piece: rows [first, last) of the axis, columns [column, column + width) of the inner dimension.
constexpr int64_t kColumns = 512;
template <class Op, class T>
void reduce_piece(const T* x, const AxisParams& p, int64_t first, int64_t last, int64_t column, int64_t width,
                  typename Op::Acc* acc) {
  if (p.inner == 1) {
    *acc = reduce_run<Op>(last - first, [run = x + first](int64_t i) { return run[i]; });
    return;
  }
  using Acc = typename Op::Acc;
  std::fill_n(acc, width, Op::kStart);
  const T* row = x + first * p.inner + column;
  int64_t j = first;
  for (; j + 4 <= last; j += 4, row += 4 * p.inner) {  // four rows for each pass over acc
    const T *a = row, *b = a + p.inner, *c = b + p.inner, *d = c + p.inner;
    for (int64_t i = 0; i < width; ++i) {
      acc[i] = Op::combine(acc[i], Op::combine(Op::combine(Acc(a[i]), Acc(b[i])), Op::combine(Acc(c[i]), Acc(d[i]))));
    }
  }
  for (; j < last; ++j, row += p.inner) {
    for (int64_t i = 0; i < width; ++i) acc[i] = Op::combine(acc[i], row[i]);
  }
}

template <class Op, class T>
void reduce_blocked_as(const T* x, const AxisParams& p, double scale, T* y) {
  using Acc = typename Op::Acc;
  const int64_t block = p.inner == 1 ? 8192 : 1024;
  const int64_t blocks = std::max<int64_t>((p.n + block - 1) / block, 1), strips = (p.inner + kColumns - 1) / kColumns;
  const auto finish = [&](Acc acc) { return scale == 1 ? static_cast<T>(acc) : static_cast<T>(acc * scale); };
  // Partial results of all blocks, [outer, blocks, inner], unless there is only one.
  Tensor workspace = Tensor::empty({blocks > 1 ? p.outer * blocks * p.inner : 0}, dtype_of<Acc>);
  Acc* partial = workspace.template data<Acc>();
  const int64_t piece = std::min(block, std::max<int64_t>(p.n, 1)) * std::min(kColumns, p.inner);
  parallel_for(p.outer * blocks * strips, std::max<int64_t>(kGrain / piece, 1), [&](int64_t begin, int64_t end) {
    Acc acc[kColumns];
    for (int64_t task = begin; task < end; ++task) {
      const int64_t o = task / (blocks * strips), b = task / strips % blocks, column = task % strips * kColumns;
      const int64_t width = std::min(kColumns, p.inner - column);
      reduce_piece<Op>(x + o * p.n * p.inner, p, b * block, std::min((b + 1) * block, p.n), column, width, acc);
      if (blocks > 1) {
        std::copy_n(acc, width, partial + (o * blocks + b) * p.inner + column);
      } else {
        for (int64_t i = 0; i < width; ++i) y[o * p.inner + column + i] = finish(acc[i]);
      }
    }
  });
  if (blocks == 1) return;
  parallel_for(p.outer * p.inner, std::max<int64_t>(kGrain / blocks, 1), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Acc* first = partial + k / p.inner * blocks * p.inner + k % p.inner;
      Acc acc = first[0];
      for (int64_t b = 1; b < blocks; ++b) acc = Op::combine(acc, first[b * p.inner]);
      y[k] = finish(acc);
    }
  });
}

void reduce_blocked(ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
  dispatch_floating(x.dtype(), "reduce", [&](auto tag) {
    using T = decltype(tag);
    if (op == ReduceOp::max) return reduce_blocked_as<Max<T>>(x.data<T>(), p, 1.0, y.data<T>());
    reduce_blocked_as<Sum<T>>(x.data<T>(), p, op == ReduceOp::mean ? 1.0 / static_cast<double>(p.n) : 1.0, y.data<T>());
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(reduce_blocked);

void register_reduce() {
  kernels::reduce.add(Device::cpu, "blocked", HWY_DYNAMIC_DISPATCH(reduce_blocked));
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
