// Batched matrix product y[i] = op(a[i]) op(b[i]) on the card, contract in tensor/kernels.h: the tiled kernel of
// matmul_tiled.cuh in three precisions, with K in one piece (`tiled`) or several (`split_k`).
// Floor: 2mnk operations, or 4(mk + kn + mn) bytes. Next: conv2d_operands.cuh.
#include "cuda/matmul.h"

#include "cuda/register.h"
#include "cuda/matmul_tiled.cuh"

namespace asap::cuda {
namespace {

MatrixProduct product_of(const Tensor& a, const Tensor& b, const MatmulParams& p, const Tensor& y) {
  return {.a = static_cast<const float*>(a.raw()),
          .b = static_cast<const float*>(b.raw()),
          .batch = y.size(0),
          .m = y.size(1),
          .n = y.size(2),
          .k = a.size(p.transpose_a ? 1 : 2),
          .step_a = a.size(0) == 1 ? 0 : a.size(1) * a.size(2),
          .step_b = b.size(0) == 1 ? 0 : b.size(1) * b.size(2),
          .params = p};
}

// op(a) or op(b): one of the two steps is 1.
struct Matrix {
  const float* data;
  int rows, depth;
  int row_step, k_step;
  int64_t part_step;
  bool along_k;
  int vector;
  __device__ __forceinline__ void begin(int part) { data += part * part_step; }
  __device__ __forceinline__ Place row(int r) const { return {r * row_step, kRow}; }
  __device__ __forceinline__ Place k(int k) const { return {k * k_step, kDepth}; }
};

struct MatrixResult {
  float* data;
  int columns, vector;
  int64_t part_step;
  Epilogue<float> epilogue;
  __device__ __forceinline__ void begin(int part) { data += part * part_step; }
  __device__ __forceinline__ int row(int m) const { return m * columns; }
  __device__ __forceinline__ int column(int n) const { return n; }
};

Matrix matrix(const float* data, int64_t rows, int64_t depth, bool k_outermost, int64_t step) {
  const int64_t length = k_outermost ? rows : depth;  // of what lies side by side
  return {.data = data,
          .rows = static_cast<int>(rows),
          .depth = static_cast<int>(depth),
          .row_step = k_outermost ? 1 : static_cast<int>(depth),
          .k_step = k_outermost ? static_cast<int>(rows) : 1,
          .part_step = step,
          .along_k = !k_outermost,
          .vector = length % 4 == 0 && is_aligned(data) && step % 4 == 0 ? 4 : 1};
}

void add_tiled(Precision precision, bool split) {
  kernels::matmul.add(
      Device::cuda, variant_name(split ? "split_k" : "tiled", precision),
      [=](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
        matrix_product(precision, split, product_of(a, b, p, y), y);
      },
      [=](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
        if (a.dtype() != DType::f32 || !precision_allows(precision)) return false;
        const MatrixProduct product = product_of(a, b, p, y);
        return takes_matrix_product(product) && (!split || splits_matrix_product(precision, product));
      });
}

}  // namespace

bool takes_matrix_product(const MatrixProduct& s) {
  constexpr int64_t kMost = int64_t{1} << 31, kMostBlocks = 65535;  // in z: a batch that is split has few of them
  return s.m * s.k < kMost && s.k * s.n < kMost && s.m * s.n < kMost && s.batch <= kMostBlocks;
}

bool splits_matrix_product(Precision precision, const MatrixProduct& s) {
  return plan_tiles(precision, s.m, s.n, s.k, s.batch, true).splits > 1;
}

void matrix_product(Precision precision, bool may_split, const MatrixProduct& s, Tensor& y) {
  const Matrix a = matrix(s.a, s.m, s.k, s.params.transpose_a, s.step_a);
  const Matrix b = matrix(s.b, s.n, s.k, !s.params.transpose_b, s.step_b);
  float* const to = y.data<float>();
  const MatrixResult result{.data = to,
                            .columns = static_cast<int>(s.n),
                            .vector = s.n % 4 == 0 && is_aligned(to) ? 4 : 1,
                            .part_step = s.m * s.n,
                            .epilogue = s.epilogue};
  tiled_matmul(precision, plan_tiles(precision, s.m, s.n, s.k, s.batch, may_split), s.batch, a, b, result, y);
}

void register_matmul() {
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f32}) {
    for (const bool split : {true, false}) add_tiled(precision, split);
  }
}

}  // namespace asap::cuda
