// Walking strided tensors on the card: a by-value copy of a shape with the strides of up to three tensors, dimensions that
// run on merged. It counts in 32 bits, divides by multiplying, and takes several neighbours at a time. `map` is the kernel over
// it of copy.cu and elementwise.cu.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

#include "cuda/divisor.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {

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

// ---- map: y = f(x0, ..) over tensors of one shape ---------------------------------------------------------------------
// Bound by memory: the floor is every input read and y written once. Broadcast operands are read again from cache.

// What f gets of an element: the element, of bf16 as float.
template <class T>
__device__ __forceinline__ T computed(T x) {
  return x;
}
__device__ __forceinline__ float computed(bf16 x) { return x; }

template <class F, class T, size_t... K>
__device__ __forceinline__ auto apply(const F& f, [[maybe_unused]] const T* x, std::index_sequence<K...>) {
  return f(computed(x[K])...);
}

// Steps of Width elements, or four single ones at once, so that their loads are under way together; behind the end the first one
// is loaded again and not stored. y may be one of the inputs: a thread reads its elements before it writes them.
template <int Width, class From, class To, int Inputs, class F>
__global__ void map_kernel(F f, std::array<const From*, Inputs> sources, FastIndex<Inputs + 1> index, To* y) {
  constexpr int kBatch = Width > 1 ? 1 : 4, kHeld = Inputs > 0 ? Inputs : 1;
  constexpr auto kEach = std::make_index_sequence<Inputs>();
  wait_for_previous_kernel();
  const unsigned count = static_cast<unsigned>(index.count), step = gridDim.x * blockDim.x;
  for (unsigned first = blockIdx.x * blockDim.x + threadIdx.x; first < count; first += kBatch * step) {
    Vector<From, Width> in[kBatch][kHeld];
    int to[kBatch];
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      int offset[Inputs + 1];
      index.offsets(first + b * step < count ? first + b * step : first, offset);
#pragma unroll
      for (int k = 0; k < Inputs; ++k) {
        const From* x = sources[k] + offset[k];
        if (Width > 1 && index.repeats(k)) {
          const From value = *x;
          for (From& v : in[b][k].v) v = value;
        } else {
          in[b][k] = *reinterpret_cast<const Vector<From, Width>*>(x);
        }
      }
      to[b] = offset[Inputs];
    }
#pragma unroll
    for (unsigned b = 0; b < kBatch; ++b) {
      if (first + b * step >= count) continue;
      Vector<To, Width> out;
#pragma unroll
      for (int j = 0; j < Width; ++j) {
        From x[kHeld];
        for (int k = 0; k < Inputs; ++k) x[k] = in[b][k].v[j];
        out.v[j] = static_cast<To>(apply(f, x, kEach));
      }
      *reinterpret_cast<Vector<To, Width>*>(y + to[b]) = out;
    }
  }
  if (Width == 1) return;
  for_each_index(index.tail(), [&](int64_t i) {
    int offset[Inputs + 1];
    index.tail_offsets(static_cast<int>(i), offset);
    From x[kHeld];
    for (int k = 0; k < Inputs; ++k) x[k] = sources[k][offset[k]];
    y[offset[Inputs]] = static_cast<To>(apply(f, x, kEach));
  });
}

// tensors: the inputs, whose elements are From, then y, of To. FastIndex::fits must have been asked.
template <class From, class To, class F, size_t Tensors>
void map(const F& f, const std::array<const Tensor*, Tensors>& tensors, Tensor& y) {
  constexpr int kInputs = static_cast<int>(Tensors) - 1, kWidth = 16 / std::max(sizeof(From), sizeof(To));
  FastIndex<kInputs + 1> index(tensors);
  std::array<const From*, kInputs> sources;
  std::transform(tensors.begin(), tensors.end() - 1, sources.begin(),
                 [](const Tensor* x) { return static_cast<const From*>(x->raw()); });
  auto* to = static_cast<To*>(y.raw());
  if (index.can_widen(kWidth, tensors)) {
    index.widen(kWidth);
    launch(map_kernel<kWidth, From, To, kInputs, F>, Launch(blocks_for(index.count), kBlock).overlapping(), f, sources, index,
           to);
  } else {
    launch(map_kernel<1, From, To, kInputs, F>, Launch(blocks_for(index.count, 4), kBlock).overlapping(), f, sources, index,
           to);
  }
}

}  // namespace asap::cuda
