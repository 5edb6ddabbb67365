// Loops over strided tensors of one shape: dimensions that are adjacent in every operand's memory become one, and the
// innermost one is handed to the kernel as a run.  Used by copy.cpp and elementwise.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>

#include "tensor/cpu/parallel.h"
#include "tensor/tensor.h"

namespace asap::cpu {

// Elements per thread below which a second thread costs more than it brings.
inline constexpr int64_t kGrain = 32768;

// The loop nest of N operands, outermost dimension first; rank >= 1.
template <size_t N>
struct StridedLoop {
  int rank = 0;
  std::array<int64_t, Shape::kMaxRank> size{};
  std::array<std::array<int64_t, Shape::kMaxRank>, N> stride{};  // [operand][dimension], in elements

  int64_t numel() const {
    int64_t n = 1;
    for (int d = 0; d < rank; ++d) n *= size[static_cast<size_t>(d)];
    return n;
  }
  int64_t inner_size() const { return size[static_cast<size_t>(rank - 1)]; }
  int64_t inner_stride(size_t operand) const { return stride[operand][static_cast<size_t>(rank - 1)]; }

  // Appends a dimension inside the others, or lengthens the last one where every operand continues in memory.
  void append(int64_t n, const std::array<int64_t, N>& strides) {
    if (n == 1) return;
    if (rank > 0) {
      const size_t last = static_cast<size_t>(rank - 1);
      bool continues = true;
      for (size_t k = 0; k < N; ++k) continues &= stride[k][last] == strides[k] * n;
      if (continues) {
        size[last] *= n;
        for (size_t k = 0; k < N; ++k) stride[k][last] = strides[k];
        return;
      }
    }
    const size_t d = static_cast<size_t>(rank++);
    size[d] = n;
    for (size_t k = 0; k < N; ++k) stride[k][d] = strides[k];
  }
  void finish() {
    if (rank > 0) return;
    rank = 1;
    size[0] = 1;
    for (size_t k = 0; k < N; ++k) stride[k][0] = 1;
  }
};

// All tensors have one shape. The last one's smallest stride is innermost: its elements are walked as they lie.
template <size_t N>
StridedLoop<N> merged_loop(const std::array<const Tensor*, N>& tensors) {
  const Tensor& y = *tensors[N - 1];
  std::array<int, Shape::kMaxRank> order;
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.begin() + y.rank(),
                   [&](int a, int b) { return y.strides()[a] > y.strides()[b]; });
  StridedLoop<N> loop;
  for (int i = 0; i < y.rank(); ++i) {
    const int d = order[static_cast<size_t>(i)];
    std::array<int64_t, N> strides;
    for (size_t k = 0; k < N; ++k) strides[k] = tensors[k]->strides()[d];
    loop.append(y.size(d), strides);
  }
  loop.finish();
  return loop;
}

// Calls f(offsets, n) on runs of the innermost dimension that together are the elements [begin, end) in loop order;
// offsets[k] is where operand k's run starts.
template <size_t N, class F>
void for_runs(const StridedLoop<N>& loop, int64_t begin, int64_t end, const F& f) {
  const size_t inner = static_cast<size_t>(loop.rank - 1);
  const int64_t length = loop.size[inner];
  std::array<int64_t, Shape::kMaxRank> index{};
  std::array<int64_t, N> row{};  // offset of the current row
  int64_t column = begin % length, rest = begin / length;
  for (size_t d = inner; d-- > 0;) {
    index[d] = rest % loop.size[d];
    rest /= loop.size[d];
    for (size_t k = 0; k < N; ++k) row[k] += index[d] * loop.stride[k][d];
  }
  while (begin < end) {
    const int64_t n = std::min(length - column, end - begin);
    std::array<int64_t, N> offsets;
    for (size_t k = 0; k < N; ++k) offsets[k] = row[k] + column * loop.stride[k][inner];
    f(offsets, n);
    begin += n;
    column = 0;
    for (size_t d = inner; d-- > 0;) {  // on to the next row
      for (size_t k = 0; k < N; ++k) row[k] += loop.stride[k][d];
      if (++index[d] < loop.size[d]) break;
      for (size_t k = 0; k < N; ++k) row[k] -= loop.size[d] * loop.stride[k][d];
      index[d] = 0;
    }
  }
}

// The same over all elements, spread over the threads.
template <size_t N, class F>
void parallel_runs(const StridedLoop<N>& loop, const F& f) {
  parallel_for(loop.numel(), kGrain, [&](int64_t begin, int64_t end) { for_runs(loop, begin, end, f); });
}

}  // namespace asap::cpu
