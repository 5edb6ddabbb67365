// Walking strided tensors on the card: a by-value copy of a shape with the strides of up to three tensors, dimensions that
// run on merged. Used by copy.cu and elementwise.cu.
#pragma once

#include <array>

#include "cuda/common.cuh"

namespace asap::cuda {

// Operands tensors of one shape; offset k of element i in row-major order.
template <int Operands>
struct StridedIndex {
  int rank = 0;
  int64_t count = 1;
  int64_t sizes[Shape::kMaxRank];
  int64_t strides[Operands][Shape::kMaxRank];

  // All tensors have the first one's shape. Neighbouring dimensions that every tensor steps through as one are merged, so
  // that contiguous tensors become one dimension.
  explicit StridedIndex(const std::array<const Tensor*, Operands>& tensors) {
    const Shape& shape = tensors[0]->shape();
    for (int d = 0; d < shape.rank(); ++d) {
      count *= shape[d];
      if (shape[d] == 1) continue;
      bool merges = rank > 0;
      for (int k = 0; merges && k < Operands; ++k) merges = strides[k][rank - 1] == shape[d] * tensors[k]->strides()[d];
      if (!merges) {
        sizes[rank++] = shape[d];
      } else {
        sizes[rank - 1] *= shape[d];
      }
      for (int k = 0; k < Operands; ++k) strides[k][rank - 1] = tensors[k]->strides()[d];
    }
  }

  bool is_contiguous() const {
    for (int k = 0; k < Operands; ++k) {
      if (rank > 1 || (rank == 1 && strides[k][0] != 1)) return false;
    }
    return true;
  }

  __device__ __forceinline__ void offsets(int64_t i, int64_t (&offset)[Operands]) const {
    for (int k = 0; k < Operands; ++k) offset[k] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      const int64_t position = i % sizes[d];
      i /= sizes[d];
      for (int k = 0; k < Operands; ++k) offset[k] += position * strides[k][d];
    }
  }
};

}  // namespace asap::cuda
