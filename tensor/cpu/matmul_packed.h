// One matrix product by packed blocks, for matmul.cpp and for convolutions that are one (1x1). Next: matmul_block.h.
#pragma once

#include <cstdint>

namespace asap::cpu {

// c [m,n] = op(a) op(b) or, with accumulate, +=; a [m,k] ([k,m] transposed), b [k,n] ([n,k] transposed), all row-major
// without gaps. T is float or double. Runs the instruction set in use (isa.h).
template <class T>
struct MatrixProduct {
  int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate = false;
};
template <class T>
void packed_matmul(const T* a, const T* b, const MatrixProduct<T>& p, T* c);

}  // namespace asap::cpu
