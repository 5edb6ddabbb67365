// Batched matrix product y[i] = op(a[i]) op(b[i]) on the CPU, contract in ../kernels.h: `packed` (matmul_block.h) and
// `eigen`. Next: matmul_packed.cpp.
#define EIGEN_DONT_PARALLELIZE  // we split the work ourselves
#include <Eigen/Core>

#include "tensor/cpu/matmul_packed.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/register.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

struct Sizes {
  int64_t batch, m, n, k;
  int64_t step_a, step_b;  // elements from one batch to the next; 0 where the batch is shared
};
Sizes sizes_of(const Tensor& a, const Tensor& b, const MatmulParams& p, const Tensor& y) {
  return {.batch = y.size(0), .m = y.size(1), .n = y.size(2), .k = a.size(p.transpose_a ? 1 : 2),
          .step_a = a.size(0) == 1 ? 0 : a.size(1) * a.size(2), .step_b = b.size(0) == 1 ? 0 : b.size(1) * b.size(2)};
}

template <class T>
using RowMajor = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using ConstBlock = Eigen::Map<const RowMajor<T>, 0, Eigen::OuterStride<>>;

// Rows [m0,m1) and columns [n0,n1) of one product.
template <class T>
void eigen_block(const T* a, const T* b, T* y, const Sizes& s, const MatmulParams& p, int64_t m0, int64_t m1, int64_t n0,
                 int64_t n1) {
  const int64_t m = m1 - m0, n = n1 - n0;
  Eigen::Map<RowMajor<T>, 0, Eigen::OuterStride<>> yb(y + m0 * s.n + n0, m, n, Eigen::OuterStride<>(s.n));
  yb.setZero();
  const ConstBlock<T> an(a + m0 * s.k, m, s.k, Eigen::OuterStride<>(s.k)), at(a + m0, s.k, m, Eigen::OuterStride<>(s.m));
  const ConstBlock<T> bn(b + n0, s.k, n, Eigen::OuterStride<>(s.n)), bt(b + n0 * s.k, n, s.k, Eigen::OuterStride<>(s.k));
  if (p.transpose_a && p.transpose_b) yb.noalias() += at.transpose() * bt.transpose();
  else if (p.transpose_a) yb.noalias() += at.transpose() * bn;
  else if (p.transpose_b) yb.noalias() += an * bt.transpose();
  else yb.noalias() += an * bn;
}

void matmul_eigen(const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
  const Sizes s = sizes_of(a, b, p, y);
  dispatch_floating(a.dtype(), "matmul", [&]<class T>(T) {
    const T *ap = a.data<T>(), *bp = b.data<T>();
    T* yp = y.data<T>();
    if (s.batch > 1) {
      parallel_for(s.batch, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          eigen_block<T>(ap + i * s.step_a, bp + i * s.step_b, yp + i * s.m * s.n, s, p, 0, s.m, 0, s.n);
        }
      });
    } else if (s.m >= s.n) {
      parallel_for(s.m, 16, [&](int64_t begin, int64_t end) { eigen_block<T>(ap, bp, yp, s, p, begin, end, 0, s.n); });
    } else {
      parallel_for(s.n, 16, [&](int64_t begin, int64_t end) { eigen_block<T>(ap, bp, yp, s, p, 0, s.m, begin, end); });
    }
  });
}

void matmul_packed(const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
  const Sizes s = sizes_of(a, b, p, y);
  dispatch_floating(a.dtype(), "matmul", [&]<class T>(T) {
    const T *ap = a.data<T>(), *bp = b.data<T>();
    T* yp = y.data<T>();
    const MatrixProduct<T> product{s.m, s.n, s.k, p.transpose_a, p.transpose_b};
    // Many products: one thread each. Few: all threads on each.
    parallel_for(s.batch, s.batch >= omp_get_max_threads() ? 1 : s.batch, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) packed_matmul(ap + i * s.step_a, bp + i * s.step_b, product, yp + i * s.m * s.n);
    });
  });
}

}  // namespace

void register_matmul() {
  // Packing pays only where what is packed is used more than once: matrix times vector is left to Eigen.
  kernels::matmul.add(Device::cpu, "packed", matmul_packed, [](const Tensor&, const Tensor&, const MatmulParams&, Tensor& y) {
    return y.size(1) > 1 && y.size(2) > 1;
  });
  kernels::matmul.add(Device::cpu, "eigen", matmul_eigen);
}

}  // namespace asap::cpu
