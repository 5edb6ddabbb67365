// gather along the middle of [outer, n, inner], and its gradient. Indices are checked by the op, not here.
// Next: divisor.cuh.
#include <limits>

#include "cuda/common.cuh"
#include "cuda/divisor.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// m of index [outer, m, inner].
int64_t gathered_size(const Tensor& index, const AxisParams& p) {
  return index.numel() / std::max<int64_t>(p.outer * p.inner, 1);
}

bool can_count(const Tensor& a, const Tensor& b) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  return a.numel() <= kMost && b.numel() <= kMost;
}

// index32: y [outer, m, inner] with 32-bit divisions by multiplying. Unit is x's element, whatever it holds.
template <class Unit>
__global__ void gather_index32_kernel(const Unit* x, const int32_t* index, int count, int n, Divisor m, Divisor inner,
                                      Unit* y) {
  for_each_index(count, [&](int64_t k) {
    const unsigned row = inner.quotient(static_cast<unsigned>(k)), o = m.quotient(row);
    const int i = static_cast<int>(static_cast<unsigned>(k) - row * inner.value);
    y[k] = x[(static_cast<int>(o) * n + index[k]) * static_cast<int>(inner.value) + i];
  });
}

void gather_index32(const Tensor& x, const Tensor& index, const AxisParams& p, Tensor& y) {
  const auto run = [&](auto unit) {
    using Unit = decltype(unit);
    launch(gather_index32_kernel<Unit>, {blocks_for(y.numel()), kBlock}, static_cast<const Unit*>(x.raw()),
           index.data<int32_t>(), static_cast<int>(y.numel()), static_cast<int>(p.n), Divisor(gathered_size(index, p)),
           Divisor(p.inner), static_cast<Unit*>(y.raw()));
  };
  switch (size_of(x.dtype())) {
    case 1: return run(uint8_t{});
    case 2: return run(uint16_t{});
    case 4: return run(uint32_t{});
    case 8: return run(uint2{});
    default: fail("gather: unknown size of ", x.dtype());
  }
}

// registers: a thread adds up kOwned elements of a line of dx, so that a line's m indices are read n / kOwned times and not
// n times. As in the definition, no two threads add to one element, and n * m comparisons a line remain: fast for classes and palettes
// (n or m small), while a table of 10^5 rows and as many picks would want the indices sorted first.
constexpr int kOwned = 8;

__global__ void gather_backward_registers_kernel(const float* dy, const int32_t* index, int threads, int n, int m,
                                                 Divisor parts, Divisor inner, float* dx) {
  for_each_index(threads, [&](int64_t k) {
    // Line (o, i), and the part of it whose elements are part, part + parts, ..: neighbouring threads write side by side.
    const unsigned row = inner.quotient(static_cast<unsigned>(k)), o = parts.quotient(row);
    const int i = static_cast<int>(static_cast<unsigned>(k) - row * inner.value),
              part = static_cast<int>(row - o * parts.value);
    const int step = static_cast<int>(inner.value), first = static_cast<int>(o) * m * step + i;
    const int apart = static_cast<int>(parts.value);
    float sums[kOwned] = {};
#pragma unroll 4
    for (int q = 0; q < m; ++q) {
      const int j = index[first + q * step] - part;
      const float g = dy[first + q * step];
#pragma unroll
      for (int r = 0; r < kOwned; ++r) sums[r] += j == r * apart ? g : 0.0f;
    }
    float* to = dx + static_cast<int>(o) * n * step + i;
#pragma unroll
    for (int r = 0; r < kOwned; ++r) {
      if (part + r * apart < n) to[(part + r * apart) * step] = sums[r];
    }
  });
}

void gather_backward_registers(const Tensor& dy, const Tensor& index, const AxisParams& p, Tensor& dx) {
  const int64_t parts = ceil_div(p.n, kOwned), threads = p.outer * parts * p.inner;
  launch(gather_backward_registers_kernel, {blocks_for(threads), kBlock}, dy.data<float>(), index.data<int32_t>(),
         static_cast<int>(threads), static_cast<int>(p.n), static_cast<int>(gathered_size(index, p)), Divisor(parts),
         Divisor(p.inner), dx.data<float>());
}

}  // namespace

void register_gather() {
  kernels::gather_forward.add(
      Device::cuda, "index32", gather_index32,
      [](const Tensor& x, const Tensor&, const AxisParams&, const Tensor& y) { return can_count(x, y); },
      {.bf16 = true});
  kernels::gather_backward.add(Device::cuda, "registers", gather_backward_registers,
                               [](const Tensor& dy, const Tensor&, const AxisParams&, const Tensor& dx) {
                                 return dx.dtype() == DType::f32 && can_count(dy, dx);
                               });
}

}  // namespace asap::cuda
