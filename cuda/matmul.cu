// Batched matrix product y[i] = op(a[i]) op(b[i]) on the card, contract in tensor/kernels.h. `outer` and `vector`: a dimension of
// one, where memory is the bound. Else the tiled kernel of matmul_tiled.cuh in three precisions; floor: 2mnk operations, or
// 4(mk + kn + mn) bytes. Next: conv2d_operands.cuh.
#include "cuda/matmul_tiled.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;  // elements, which are counted in 32 bits

// ---- outer: sums of one term ----------------------------------------------------------------------------------------

void outer_product(const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
  const Tensor column = p.transpose_a ? a.transpose(1, 2) : a, row = p.transpose_b ? b.transpose(1, 2) : b;
  kernels::binary.run(Device::cuda, BinaryOp::mul, column.expand(y.shape()), row.expand(y.shape()), y);
}

// ---- vector: a matrix times a column, or a row times a matrix -----------------------------------------------------------
// Each element of the matrix takes part in one multiply-add: float32 in every precision is no slower than memory, the floor
// is the matrix read once. Where the outputs make too few blocks for the card, the sums are cut over blockIdx.y.

// y[row] = the sum over k of matrix[row][k] x[k]: a block a row.
template <int Width>
__global__ void row_sums_kernel(const float* matrix, const float* x, int depth, int piece, float* y) {
  using Run = Vector<float, Width>;
  struct Pair {
    Run m, x;
  };
  wait_for_previous_kernel();
  const float* row = matrix + int64_t{blockIdx.x} * depth;
  const int first = static_cast<int>(blockIdx.y) * piece, end = min(depth, first + piece);
  const float own = sum_of_loaded<4>(
      0.0f, first + static_cast<int>(threadIdx.x) * Width, end, static_cast<int>(blockDim.x) * Width,
      [&](int k) { return Pair{*reinterpret_cast<const Run*>(row + k), *reinterpret_cast<const Run*>(x + k)}; },
      [](float sum, const Pair& at) {
#pragma unroll
        for (int e = 0; e < Width; ++e) sum += at.m.v[e] * at.x.v[e];
        return sum;
      });
  const float sum = block_reduce(own, 0.0f);
  if (threadIdx.x == 0) y[int64_t{blockIdx.y} * gridDim.x + blockIdx.x] = sum;
}

// y[column] = the sum over k of matrix[k][column] x[k]: a block a strip of columns, 128 bytes of each row, its groups of
// lanes a row each.
constexpr int kStrip = 32, kStripThreads = 512;
template <int Width>
__global__ void __launch_bounds__(kStripThreads)
    column_sums_kernel(const float* matrix, const float* x, int depth, int columns, int piece, float* y) {
  using Run = Vector<float, Width>;
  struct Term {
    Run m;
    float x;
  };
  constexpr int kLanes = kStrip / Width, kGroups = kStripThreads / kLanes;
  ASAP_SHARED(float, partial, [kGroups][kStrip]);
  wait_for_previous_kernel();
  const int t = static_cast<int>(threadIdx.x), lane = t % kLanes, group = t / kLanes;
  const int strip = static_cast<int>(blockIdx.x) * kStrip, column = strip + lane * Width;
  const int first = static_cast<int>(blockIdx.y) * piece, end = column < columns ? min(depth, first + piece) : 0;
  const Run sums = sum_of_loaded<8>(
      Run{}, first + group, end, kGroups,
      [&](int k) { return Term{*reinterpret_cast<const Run*>(matrix + int64_t{k} * columns + column), x[k]}; },
      [](Run sum, const Term& at) {
#pragma unroll
        for (int e = 0; e < Width; ++e) sum.v[e] += at.m.v[e] * at.x;
        return sum;
      });
#pragma unroll
  for (int e = 0; e < Width; ++e) partial[group][lane * Width + e] = sums.v[e];
  __syncthreads();
  if (t >= kStrip || strip + t >= columns) return;
  float total = partial[0][t];
#pragma unroll
  for (int g = 1; g < kGroups; ++g) total += partial[g][t];
  y[int64_t{blockIdx.y} * columns + strip + t] = total;
}

void vector_product(const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
  const bool column = y.size(2) == 1;  // b is; else a is a row
  const Tensor &matrix = column ? a : b, &x = column ? b : a;
  const int outputs = static_cast<int>(y.numel()), depth = static_cast<int>(x.numel());
  const bool along_k = outputs == 1 || (column ? !p.transpose_a : p.transpose_b);
  // Blocks for each multiprocessor, and the k's that keep a block busy.
  const int64_t blocks = along_k ? outputs : ceil_div(outputs, kStrip), shortest = along_k ? 4096 : 512;
  const int64_t pieces = std::clamp<int64_t>(2 * card().multiprocessors / blocks, 1, ceil_div(depth, shortest));
  const int piece = static_cast<int>(ceil_div(ceil_div(depth, pieces), 4) * 4);
  const int splits = static_cast<int>(ceil_div(depth, piece));
  const Tensor partials = splits > 1 ? scratch(splits * y.numel()) : y;
  const bool fours = (along_k ? depth : outputs) % 4 == 0 && is_aligned(matrix.raw()) && (!along_k || is_aligned(x.raw()));
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(splits));
  auto* to = static_cast<float*>(partials.raw());
  if (along_k) {
    const int64_t warps = ceil_div(ceil_div(piece, fours ? 4 : 1), kWarp);
    const auto threads = static_cast<unsigned>(std::min<int64_t>(warps * kWarp, kBlock));
    launch(fours ? row_sums_kernel<4> : row_sums_kernel<1>, Launch(grid, threads).overlapping(), matrix.data<float>(),
           x.data<float>(), depth, piece, to);
  } else {
    launch(fours ? column_sums_kernel<4> : column_sums_kernel<1>, Launch(grid, kStripThreads).overlapping(),
           matrix.data<float>(), x.data<float>(), depth, outputs, piece, to);
  }
  if (splits > 1) sum_partials(partials, splits, {}, y);
}

bool is_f32(const Tensor& a, const Tensor& b, const Tensor& y) {
  const auto fits = [](const Tensor& t) { return t.size(1) * t.size(2) < kMost; };
  return a.dtype() == DType::f32 && fits(a) && fits(b) && fits(y);
}

}  // namespace

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
  kernels::matmul.add(Device::cuda, "outer", outer_product,
                      [](const Tensor& a, const Tensor& b, const MatmulParams& p, const Tensor& y) {
                        return is_f32(a, b, y) && a.size(p.transpose_a ? 1 : 2) == 1;
                      });
  kernels::matmul.add(Device::cuda, "vector", vector_product,
                      [](const Tensor& a, const Tensor& b, const MatmulParams&, const Tensor& y) {
                        return is_f32(a, b, y) && y.size(0) == 1 && (y.size(1) == 1 || y.size(2) == 1);
                      });
  for (const Precision precision : {Precision::bf16, Precision::tf32, Precision::f32}) {
    kernels::matmul.add(
        Device::cuda, variant_name("tiled", precision),
        [=](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
          matrix_product(precision, a, b, p, {}, y);
        },
        [=](const Tensor& a, const Tensor& b, const MatmulParams&, Tensor& y) {
          constexpr int64_t kMostBlocks = 65535;  // in z: a batch that is split has few of them
          return is_f32(a, b, y) && precision_allows(precision) && y.size(0) <= kMostBlocks;
        });
  }
}

}  // namespace asap::cuda
