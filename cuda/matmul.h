// Matrix products of float32 tensors for the kernels of other families: a convolution of 1x1 windows is one. See matmul.cu.
#pragma once

#include "cuda/epilogue.cuh"
#include "tensor/kernels.h"
#include "tensor/precision.h"

namespace asap::cuda {

// y[i] = op(a[i]) op(b[i]), as in MatmulParams: `batch` products of m x n x k; step_a, step_b: elements from one to the next,
// 0 where all share one. y is contiguous.
struct MatrixProduct {
  const float* a;
  const float* b;
  int64_t batch, m, n, k;
  int64_t step_a, step_b;
  MatmulParams params;
  Epilogue<float> epilogue = {};  // a channel a row
};
void matrix_product(Precision, bool may_split, const MatrixProduct&, Tensor& y);
// Whether K would be split.
bool splits_matrix_product(Precision, const MatrixProduct&);
// Whether offsets fit the 32-bit integers of the tiled kernels.
bool takes_matrix_product(const MatrixProduct&);

}  // namespace asap::cuda
