// Batched matrix product y[i] = op(a[i]) op(b[i]) on the card, contract in tensor/kernels.h: the tiled kernel of
// matmul_tiled.cuh in three precisions. Floor: 2mnk operations, or 4(mk + kn + mn) bytes. Next: conv2d_operands.cuh.
#include "cuda/matmul_tiled.cuh"
#include "cuda/register.h"

namespace asap::cuda {

void matrix_product(Precision precision, const Tensor& a, const Tensor& b, const MatmulParams& p,
                    const Epilogue<float>& epilogue, Tensor& y) {
  const int64_t m = y.size(1), n = y.size(2), k = a.size(p.transpose_a ? 1 : 2);
  const auto step = [](const Tensor& t) { return t.size(0) == 1 ? 0 : t.size(1) * t.size(2); };
  const TileResult result{
      .part_step = m * n, .row_step = static_cast<int>(n), .vector = n % 4 == 0 ? 4 : 1, .epilogue = epilogue};
  tiled_matmul<1, Matrix, Matrix>(precision, y.size(0),
                                  {{matrix(a.data<float>(), m, k, p.transpose_a, step(a)),
                                    matrix(b.data<float>(), n, k, !p.transpose_b, step(b)), result}},
                                  y);
}

void register_matmul() {
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f32}) {
    kernels::matmul.add(
        Device::cuda, variant_name("tiled", precision),
        [=](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
          matrix_product(precision, a, b, p, {}, y);
        },
        [=](const Tensor& a, const Tensor& b, const MatmulParams&, Tensor& y) {
          constexpr int64_t kMost = int64_t{1} << 31,
                            kMostBlocks = 65535;  // in z: a batch that is split has few of them
          const auto fits = [](const Tensor& t) { return t.size(1) * t.size(2) < kMost; };
          return a.dtype() == DType::f32 && precision_allows(precision) && fits(a) && fits(b) && fits(y) &&
                 y.size(0) <= kMostBlocks;
        });
  }
}

}  // namespace asap::cuda
