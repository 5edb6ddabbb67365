// Walking strided tensors on the card: a by-value copy of a shape with the strides of up to three tensors, dimensions that
// run on merged. It counts in 32 bits, divides by multiplying, and takes several neighbours at a time. Used by copy.cu and
// elementwise.cu.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "cuda/common.cuh"

namespace asap::cuda {

// Quotients of 0 <= n < 2^31 by a divisor that is fixed: a multiplication and a shift (Granlund and Montgomery 1994).
struct Divisor {
  unsigned value = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  explicit Divisor(int64_t divisor) : value(static_cast<unsigned>(divisor)) {
    while ((uint64_t{1} << shift) < value) ++shift;
    multiplier = static_cast<unsigned>((((uint64_t{1} << shift) - value) << 32) / value + 1);
  }
  __device__ __forceinline__ unsigned quotient(unsigned n) const { return (__umulhi(n, multiplier) + n) >> shift; }
};

// Width elements that are read or written at once.
template <class T, int Width>
struct alignas(sizeof(T) * Width) Vector {
  T v[Width];
};

// The elements of tensors of one shape in the order in which the last tensor, the output, has them in memory; offsets of
// all tensors. `widen` makes one step of `width` neighbouring elements.
template <int Operands>
struct FastIndex {
  int rank = 0, width = 1;
  int elements = 1,
      count = 1;  // count: steps of `width` elements; those left over, of a single dimension, are the tail
  Divisor sizes[Shape::kMaxRank];
  int strides[Operands][Shape::kMaxRank] = {};  // in elements, of one step

  using Tensors = std::array<const Tensor*, Operands>;

  // Whether all offsets and counts fit into 31 bits.
  static bool fits(const Tensors& tensors) {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    for (const Tensor* t : tensors) {
      int64_t last = 0;
      for (int d = 0; d < t->rank(); ++d) last += (t->size(d) - 1) * t->strides()[d];
      if (t->numel() == 0 || t->numel() > kMost || last > kMost) return false;
    }
    return true;
  }

  explicit FastIndex(const Tensors& tensors) {
    const Tensor& y = *tensors[Operands - 1];
    std::array<int, Shape::kMaxRank> order;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.begin() + y.rank(),
                     [&](int a, int b) { return y.strides()[a] > y.strides()[b]; });
    for (int i = 0; i < y.rank(); ++i) {
      const int d = order[static_cast<size_t>(i)];
      const int size = static_cast<int>(y.size(d));
      if (size == 1) continue;
      elements *= size;
      bool merges = rank > 0;
      for (size_t k = 0; merges && k < Operands; ++k) merges = strides[k][rank - 1] == size * tensors[k]->strides()[d];
      if (!merges) ++rank;
      sizes[rank - 1] = Divisor(merges ? int64_t{sizes[rank - 1].value} * size : size);
      for (size_t k = 0; k < Operands; ++k) strides[k][rank - 1] = static_cast<int>(tensors[k]->strides()[d]);
    }
    count = elements;
  }

  // Whether operand k has one value for all elements of a step.
  __host__ __device__ bool repeats(int k) const { return rank > 0 && strides[k][rank - 1] == 0; }

  // Whether steps of `by` elements are possible: they lie side by side, and aligned, in all operands but those that repeat
  // a value along them.
  bool can_widen(int by, const Tensors& tensors) const {
    if (rank == 0 || (rank > 1 && sizes[rank - 1].value % static_cast<unsigned>(by) != 0)) return false;
    for (int k = 0; k < Operands; ++k) {
      if (k < Operands - 1 && repeats(k)) continue;
      const Tensor& t = *tensors[static_cast<size_t>(k)];
      bool takes = strides[k][rank - 1] == 1 &&
                   reinterpret_cast<uintptr_t>(t.raw()) % (static_cast<size_t>(by) * size_of(t.dtype())) == 0;
      for (int d = 0; d < rank - 1; ++d) takes = takes && strides[k][d] % by == 0;
      if (!takes) return false;
    }
    return true;
  }
  void widen(int by) {
    width = by;
    count = elements / by;
    if (rank > 1) sizes[rank - 1] = Divisor(static_cast<int64_t>(sizes[rank - 1].value) / by);
    for (auto& of_operand : strides) of_operand[rank - 1] *= by;
  }

  // Forgets dimension d: what is left walks over the others. Only before widen.
  void remove(int d) {
    elements /= static_cast<int>(sizes[d].value);
    count = elements;
    std::copy(sizes + d + 1, sizes + rank, sizes + d);
    for (auto& of_operand : strides) {
      std::copy(of_operand + d + 1, of_operand + rank, of_operand + d);
      of_operand[rank - 1] = 0;
    }
    --rank;
  }

  // Step i's offsets; the outermost dimension needs no division.
  __device__ __forceinline__ void offsets(unsigned i, int (&offset)[Operands]) const {
    for (int k = 0; k < Operands; ++k) offset[k] = 0;
#pragma unroll 1
    for (int d = rank - 1; d > 0; --d) {
      const unsigned next = sizes[d].quotient(i);
      const int position = static_cast<int>(i - next * sizes[d].value);
      i = next;
      for (int k = 0; k < Operands; ++k) offset[k] += position * strides[k][d];
    }
    for (int k = 0; k < Operands; ++k) offset[k] += static_cast<int>(i) * strides[k][0];
  }

  // The tail's elements, which steps of `width` leave over, and their offsets.
  __device__ __forceinline__ int tail() const { return elements - count * width; }
  __device__ __forceinline__ void tail_offsets(int i, int (&offset)[Operands]) const {
    for (int k = 0; k < Operands; ++k) offset[k] = repeats(k) ? 0 : count * width + i;
  }
};

// The calling thread's share of steps 0..count-1, Batch at a time, so that their loads are under way together: load(b, i)
// for b < Batch, then store(b). Behind the end a batch loads its first step again and does not store it.
template <int Batch, class Load, class Store>
__device__ __forceinline__ void for_each_batch(int count, Load&& load, Store&& store) {
  const unsigned n = static_cast<unsigned>(count), step = gridDim.x * blockDim.x;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += Batch * step) {
#pragma unroll
    for (unsigned b = 0; b < Batch; ++b) load(b, i + b * step < n ? i + b * step : i);
#pragma unroll
    for (unsigned b = 0; b < Batch; ++b) {
      if (i + b * step < n) store(b);
    }
  }
}

}  // namespace asap::cuda
