// C = A B, tile by tile: the one kernel under matmul, the three convolutions and their split-K forms. C is M x N, the inner
// dimension is K. A block owns a tile of C and walks along K; operands travel from memory to a ring of kStages tiles in
// shared memory by cp.async, kStages - 1 tiles ahead of the product (matmul_product.cuh).
//
// An operand is any struct that says where its element (row, k) lies, as the sum of a place for the row and one for the k
// (rows of A run along M, rows of B along N). So a picture can be read as the matrix of its windows, and no column matrix
// is written:
//   const float* data; int rows, depth;
//   int64_t part_step;                        // elements to the next of the launch's parts: products of a batch, groups
//   Place row(int r) const, k(int k) const;   // for r < rows, k < depth
//   along_k                                   // whether neighbours in memory are neighbours in k, or in rows
//   vector                                    // 4 if runs of four along that lie in 16 aligned bytes, else 1
//   fold                                      // optional: where to read instead of counting a border element as zero
// along_k and vector may be constexpr.
// Next: matmul.cu for the plainest operands, conv2d_operands.cuh for the windows.
#pragma once

#include "cuda/epilogue.cuh"
#include "cuda/matmul_product.cuh"
#include "cuda/strided.cuh"
#include "tensor/precision.h"

namespace asap::cuda {

// ---- places -----------------------------------------------------------------------------------------------------------

// The row's or the k's share of an element's offset. The element counts as zero where the two have a bit in common: a window
// marks the taps that it misses, a tap itself; beyond the matrix all bits are set, within it one that only those meet.
struct Place {
  int offset;
  uint32_t bits;
};
constexpr uint32_t kRow = 1u << 30, kDepth = 1u << 31, kOutside = ~0u;
constexpr int kMostTaps = 15;  // of a window's height and width: 15 bits each

// A matrix in memory: one of the two steps is 1.
struct Matrix {
  const float* data;
  int64_t part_step;
  int rows, depth;
  int row_step, k_step;
  bool along_k;
  int vector;
  __device__ __forceinline__ Place row(int r) const { return {r * row_step, kRow}; }
  __device__ __forceinline__ Place k(int k) const { return {k * k_step, kDepth}; }
};
Matrix matrix(const float* data, int64_t rows, int64_t depth, bool k_outermost, int64_t part_step);

// Where sums go: the rows of C are channels, its columns the pixels of all pictures, line by line. Of a matrix all columns are one
// line.
struct TileResult {
  int64_t first = 0, part_step = 0;  // elements: to the first pixel, and from one part to the next
  int row_step = 0;
  int vector = 1;                             // 4 if runs of four columns lie in 16 bytes, else 1
  int bias_step = 0;                          // of the epilogue's channels, from one part to the next
  Divisor picture{kEndless}, line{kEndless};  // columns of each
  int picture_step = 0, line_step = 0, column_step = 1;
  Epilogue<float> epilogue{};
  static constexpr int64_t kEndless = int64_t{1} << 31;
  __device__ __forceinline__ int column(int n) const {
    const int p = picture.divide(n), l = line.divide(n);
    return p * picture_step + l * line_step + n * column_step;
  }
};

// One product of several in a launch.
template <class A, class B>
struct TileProduct {
  A a;
  B b;
  TileResult y;
};

// ---- the plan ---------------------------------------------------------------------------------------------------------

enum class TileSize { large, medium, small };  // 128 x 128, 64 x 128, and few rows: 8 x 256 (f32) or 16 x 128
struct TilePlan {
  TileSize size = TileSize::large;
  int tiles_m = 1, tiles_n = 1;
  int splits = 1;  // of K; each makes its own partial sums
};
// `products` of m x n x k, none larger, side by side: K is cut into as many pieces as fill the card once.
TilePlan plan_tiles(Precision, int64_t m, int64_t n, int64_t k, int64_t products);

// y[i] = partials[0][i] + partials[1][i] + ..: in an order that the sizes decide, so that equal inputs give equal bits. The
// epilogue's channels are y's second dimension.
void sum_partials(const Tensor& partials, int splits, const Epilogue<float>& epilogue, Tensor& y);

// ---- the kernel -------------------------------------------------------------------------------------------------------

constexpr int kStages = 4;

template <class A, class B, int kProducts>
struct TileProblem {
  TileProduct<A, B> products[kProducts] = {};
  int count = 0;  // of them
  float* y;
  int tiles_m, splits;
  int64_t split_step;  // floats from one split's partial sums to the next's
};

template <class Product>
struct alignas(128) TileRing {
  float a[kStages][Product::kRows * Product::kPitchA];
  float b[kStages][kTileDepth * Product::kPitchB];
};

template <class Product, class A, class B>
struct TileShared : TileRing<Product> {
  static constexpr int kRing = kStages * kTileDepth;
  Place a_places[Product::kRows > kRing ? Product::kRows : kRing];
  Place b_places[Product::kColumns > kRing ? Product::kColumns : kRing];
  // Of the block. All threads share it, and the registers are for sums.
  TileProduct<A, B> product;
  float* y;
};

// Moves tiles of one operand, Rows x kTileDepth, into shared memory. Where its memory runs along k, a thread stays with one
// k of the tile and visits many rows, whose places stand in a table that is written once. Where it runs along the rows, a
// thread stays with its rows and visits the k's, whose table is written tile by tile, kStages tiles at a time.
// A lies [row][k] and B [k][row] in shared memory: an operand whose memory runs the other way goes through in patches of 8
// (along memory: one sector) by 4 lanes, which meets few banks twice.
template <class Operand, int Rows, int Threads, bool IsA, int Pitch>
class TileCopy {
  static constexpr int kWarps = Threads / kWarp;
  static constexpr int kRowStep = IsA ? Pitch : 1, kStep = IsA ? 1 : Pitch;  // floats in shared memory

  // Lanes along the rows, and patches of them over all rows, for copies of Width elements.
  template <int Width>
  struct Rowwise {
    static constexpr int kLaneRows = IsA ? 8 : kWarp, kLaneDepth = kWarp / kLaneRows;
    static constexpr int kPatches = Rows / (kLaneRows * Width);
    static constexpr int kOwned = kPatches > kWarps ? kPatches / kWarps : 1;
    static constexpr int kGroups = kPatches > kWarps ? 1 : kWarps / kPatches;  // of warps that share the k's
    __device__ static int row(int thread, int i) {
      return ((thread / kWarp * kOwned + i) % kPatches * kLaneRows + thread % kLaneRows) * Width;
    }
    __device__ static int depth(int thread) {
      return thread / kWarp / (kPatches / kOwned) * kLaneDepth + thread % kWarp / kLaneRows;
    }
  };
  // The narrow copies own the most rows, but for operands that fill them all.
  static constexpr int kMostOwned = Rowwise<1>::kOwned;

 public:
  __device__ TileCopy(const Operand& operand, int first_row, Place* table) : operand_(operand), table_(table) {
    if (operand.along_k) {
      for (int r = static_cast<int>(threadIdx.x); r < Rows; r += Threads) table_[r] = row_place(first_row + r);
    } else {
#pragma unroll
      for (int i = 0; i < kMostOwned; ++i) own_[i] = row_place(first_row + owned_row(i));
    }
  }

  // Writes the tile's table; a barrier must lie between this and copy().
  __device__ __forceinline__ void prepare(int tile, int slot) {
    const int k = fresh_thread() - (IsA ? 0 : kWarp);  // one warp for A, another for B
    if (!operand_.along_k && k >= 0 && k < kTileDepth)
      table_[slot * kTileDepth + k] = depth_place(tile * kTileDepth + k);
  }

  __device__ __forceinline__ void copy(int tile, int slot, float* to) {
    if (operand_.along_k) {
      if constexpr (IsA) {
        if (operand_.vector == 4) return copy_along_k<4>(tile * kTileDepth, to);
      }
      copy_along_k<1>(tile * kTileDepth, to);
    } else {
      if constexpr (!IsA) {
        if (operand_.vector == 4) return copy_along_rows<4>(table_ + slot * kTileDepth, to);
      }
      copy_along_rows<1>(table_ + slot * kTileDepth, to);
    }
  }

 private:
  __device__ Place row_place(int r) const { return r < operand_.rows ? operand_.row(r) : Place{0, kOutside}; }
  __device__ Place depth_place(int k) const { return k < operand_.depth ? operand_.k(k) : Place{0, kOutside}; }
  __device__ int owned_row(int i) const {
    if constexpr (!IsA) {
      if (operand_.vector == 4) return Rowwise<4>::row(fresh_thread(), i % Rowwise<4>::kOwned);
    }
    return Rowwise<1>::row(fresh_thread(), i);
  }

  template <int Width>
  __device__ __forceinline__ void copy_elements(float* to, const float* data, Place row, Place k) const {
    int offset = row.offset + k.offset;
    bool valid = (row.bits & k.bits) == 0;
    if constexpr (requires { operand_.fold; }) {
      if (!valid) valid = operand_.fold.apply(row.bits & k.bits, offset);
    }
    copy_async<4 * Width>(to, data + (valid ? offset : 0), valid);
  }

  // Both read a few places at a time and then copy: the waits for shared memory overlap.
  template <int Width>
  __device__ __forceinline__ void copy_along_k(int first_k, float* to) {
    constexpr int kLaneDepth = IsA ? kTileDepth / Width : 8, kLaneRows = kWarp / kLaneDepth;
    constexpr int kPatches = kTileDepth / (kLaneDepth * Width), kRowsAtOnce = kWarps / kPatches * kLaneRows;
    const int thread = fresh_thread(), warp = thread / kWarp, lane = thread % kWarp;
    const int k = (warp % kPatches * kLaneDepth + lane % kLaneDepth) * Width;
    const int first = warp / kPatches * kLaneRows + lane / kLaneDepth;
    const Place place = depth_place(first_k + k);
    const float* const data = operand_.data;
    constexpr int kCopies = (Rows + kRowsAtOnce - 1) / kRowsAtOnce, kBatch = kCopies < 4 ? kCopies : 4;
    to += first * kRowStep + k * kStep;
#pragma unroll
    for (int i = 0; i < kCopies; i += kBatch) {
      Place places[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) places[j] = table_[first + (i + j) * kRowsAtOnce];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const int r = (i + j) * kRowsAtOnce;
        if (Rows % kRowsAtOnce == 0 || first + r < Rows)
          copy_elements<Width>(to + r * kRowStep, data, places[j], place);
      }
    }
  }

  template <int Width>
  __device__ __forceinline__ void copy_along_rows(const Place* ks, float* to) {
    using Lanes = Rowwise<Width>;
    constexpr int kAtOnce = Lanes::kGroups * Lanes::kLaneDepth;
    static_assert(kTileDepth % kAtOnce == 0);
    const int thread = fresh_thread();
    const float* const data = operand_.data;
    constexpr int kCopies = kTileDepth / kAtOnce, kBatch = kCopies < 4 ? kCopies : 4;
    ks += Lanes::depth(thread);
    to += Lanes::depth(thread) * kStep;
#pragma unroll
    for (int i = 0; i < kCopies; i += kBatch) {
      Place places[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) places[j] = ks[(i + j) * kAtOnce];
#pragma unroll
      for (int owned = 0; owned < Lanes::kOwned; ++owned) {
        float* const column = to + Lanes::row(thread, owned) * kRowStep;
#pragma unroll
        for (int j = 0; j < kBatch; ++j) {
          copy_elements<Width>(column + (i + j) * kAtOnce * kStep, data, own_[owned], places[j]);
        }
      }
    }
  }

  const Operand& operand_;
  Place* const table_;
  Place own_[kMostOwned];
};

// Writes the block's sums, a run of columns at a time. y is shared memory, read anew at each use: the sums need the registers.
template <class Product>
__device__ __forceinline__ void store_tile(const Product& product, const TileResult& y, float* to, int first_m,
                                           int rows, int first_n, int columns) {
  constexpr int kRun = Product::kRun;
  using Run = Vector<float, kRun>;
#pragma unroll
  for (int j = 0; j < Product::kRunCount; ++j) {
    const int n = first_n + Product::column(j);
    int column[kRun];
#pragma unroll
    for (int c = 0; c < kRun; ++c) column[c] = y.column(min(n + c, columns - 1));
#pragma unroll
    for (int i = 0; i < Product::kRowCount; ++i) {
      const int m = first_m + Product::row(i);
      if (m >= rows || n >= columns) continue;
      Run run;
#pragma unroll
      for (int c = 0; c < kRun; ++c) run.v[c] = y.epilogue(m, product.values(i, j)[c]);
      float* row = to + m * y.row_step;
      if (y.vector == 4 && n + kRun <= columns) {
        *reinterpret_cast<Run*>(row + column[0]) = run;
      } else {
#pragma unroll
        for (int c = 0; c < kRun; ++c) {
          if (n + c < columns) row[column[c]] = run.v[c];
        }
      }
    }
  }
}

// Blocks (tiles, 1, products of each part, each split).
template <class Product, class A, class B, int kProducts>
__global__ void __launch_bounds__(Product::kThreads, Product::kBlocksEach)
    tiled_matmul_kernel(TileProblem<A, B, kProducts> p) {
  auto& shared = *dynamic_shared<TileShared<Product, A, B>>();
  if (p.splits > 1) let_next_kernel_start();  // their sum
  const int product_number = static_cast<int>(blockIdx.z) / p.splits, split = static_cast<int>(blockIdx.z) % p.splits;
  if (threadIdx.x == 0) {
    const int part = kProducts == 1 ? product_number : product_number / p.count;
    auto& own = shared.product;
    own = p.products[kProducts == 1 ? 0 : product_number % p.count];
    own.a.data += part * own.a.part_step;
    own.b.data += part * own.b.part_step;
    if (own.y.epilogue.bias) own.y.epilogue.bias += part * own.y.bias_step;
    shared.y = p.y + split * p.split_step + own.y.first + part * own.y.part_step;
  }
  __syncthreads();
  const A& a = shared.product.a;
  const B& b = shared.product.b;
  // Neighbouring blocks share columns: pixels, of which there are more than there are weights.
  const int first_m = static_cast<int>(blockIdx.x) % p.tiles_m * Product::kRows;
  const int first_n = static_cast<int>(blockIdx.x) / p.tiles_m * Product::kColumns;
  if (first_m >= a.rows || first_n >= b.rows) return;  // the whole block: this product is smaller than the largest

  TileCopy<A, Product::kRows, Product::kThreads, true, Product::kPitchA> copy_a(a, first_m, shared.a_places);
  TileCopy<B, Product::kColumns, Product::kThreads, false, Product::kPitchB> copy_b(b, first_n, shared.b_places);
  const int tiles = (b.depth + kTileDepth - 1) / kTileDepth;
  const int first = static_cast<int>(static_cast<int64_t>(tiles) * split / p.splits);
  const int last = static_cast<int>(static_cast<int64_t>(tiles) * (split + 1) / p.splits);
  const auto copy = [&](int tile) {
    if (tile < last) {
      const int slot = (tile - first) % kStages;
      copy_a.copy(tile, slot, shared.a[slot]);
      copy_b.copy(tile, slot, shared.b[slot]);
    }
    copy_commit();
  };
  for (int slot = 0; slot < kStages; ++slot) {
    copy_a.prepare(first + slot, slot);
    copy_b.prepare(first + slot, slot);
  }
  __syncthreads();
  for (int tile = first; tile < first + kStages - 1; ++tile) copy(tile);

  Product product;
  for (int tile = first; tile < last; ++tile) {
    const int slot = (tile - first) % kStages;
    copy_wait<kStages - 2>();
    __syncthreads();  // the tile has arrived for all, and all are done with the one before, whose place is filled next
    copy(tile + kStages - 1);
    copy_a.prepare(tile + kStages, slot);
    copy_b.prepare(tile + kStages, slot);
    product.add(shared.a[slot], shared.b[slot]);
  }
  store_tile(product, shared.product.y, shared.y, first_m, a.rows, first_n, b.rows);
}

// ---- what the variants share ------------------------------------------------------------------------------------------

// "tiled", "tiled_tf32" or "tiled_bf16" for "tiled".
std::string variant_name(const std::string& base, Precision precision);
// To 16 bytes.
inline bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }

// ---- launching --------------------------------------------------------------------------------------------------------

// f(Product) for the plan's tile in this precision.
template <class F>
void with_product(Precision precision, TileSize size, const F& f) {
  using Large = WarpGrid<128, 128, 2, 4>;
  using Medium = WarpGrid<64, 128, 1, 4>;
  using Small = WarpGrid<16, 128, 1, 4>;
  const auto by_size = [&]<class L, class M, class S>() {
    size == TileSize::large    ? f(std::type_identity<L>{})
    : size == TileSize::medium ? f(std::type_identity<M>{})
                               : f(std::type_identity<S>{});
  };
  switch (precision) {
    case Precision::f32:
      return by_size
          .template operator()<SimtProduct<WarpGrid<128, 128, 4, 2>, 4>, SimtProduct<WarpGrid<64, 128, 2, 2>, 4>,
                               SimtProduct<WarpGrid<8, 256, 1, 4>, 2>>();
    case Precision::tf32:
      return by_size.template operator()<Tf32Product<Large>, Tf32Product<Medium>, Tf32Product<Small>>();
    case Precision::bf16:
      return by_size.template operator()<Bf16Product<Large>, Bf16Product<Medium>, Bf16Product<Small>>();
  }
}

// The products into `y`, each for all parts. Splits go through partial sums, each laid out as y is. kProducts: in one launch.
template <int kProducts = 1, class A, class B>
void tiled_matmul(Precision precision, int64_t parts, std::vector<TileProduct<A, B>> products, Tensor& y) {
  int m = 0, n = 0, k = 0;
  for (const auto& p : products) m = std::max(m, p.a.rows), n = std::max(n, p.b.rows), k = std::max(k, p.a.depth);
  const TilePlan plan = plan_tiles(precision, m, n, k, parts * static_cast<int64_t>(products.size()));
  const Tensor partials = plan.splits > 1 ? scratch(plan.splits * y.numel()) : Tensor();
  const Epilogue<float> epilogue = products[0].y.epilogue;
  for (auto& p : products) {
    if (plan.splits > 1) p.y.epilogue = {};
    if (!is_aligned(y.raw())) p.y.vector = 1;
  }
  TileProblem<A, B, kProducts> problem{.y = static_cast<float*>(plan.splits > 1 ? partials.raw() : y.raw()),
                                       .tiles_m = plan.tiles_m,
                                       .splits = plan.splits,
                                       .split_step = y.numel()};
  for (size_t first = 0; first < products.size(); first += kProducts) {
    problem.count = static_cast<int>(std::min<size_t>(kProducts, products.size() - first));
    std::copy_n(products.begin() + static_cast<int64_t>(first), problem.count, problem.products);
    const dim3 blocks(static_cast<unsigned>(plan.tiles_m * plan.tiles_n), 1,
                      static_cast<unsigned>(parts * problem.count * plan.splits));
    with_product(precision, plan.size, [&]<class Product>(std::type_identity<Product>) {
      launch(tiled_matmul_kernel<Product, A, B, kProducts>,
             {blocks, Product::kThreads, sizeof(TileShared<Product, A, B>)}, problem);
    });
  }
  if (plan.splits > 1) sum_partials(partials, plan.splits, epilogue, y);
}

// y[i] = op(a[i]) op(b[i]) of float32 tensors, as in MatmulParams, then the epilogue: a channel a row. In matmul.cu.
void matrix_product(Precision precision, const Tensor& a, const Tensor& b, const MatmulParams& p,
                    const Epilogue<float>& epilogue, Tensor& y);

}  // namespace asap::cuda
