// What a block does with two tiles in shared memory: its warps keep a tile of C in registers and add A B to it, kTileDepth
// of the inner dimension at a time. Three products behind one interface: SimtProduct (float32 multiply-adds), Tf32Product and
// Bf16Product (tensor cores; operands are rounded on their way from shared memory into registers).
// The tiles: A [rows][kPitchA], a row's k side by side; B [kTileDepth][kPitchB], a k's columns side by side. The pitches are
// chosen so that the lanes of a warp read from different banks of shared memory. Next: matmul_tiled.cuh, the kernel around it.
#pragma once

#include "cuda/mma.cuh"

namespace asap::cuda {

constexpr int kTileDepth = 16;

// Rows and columns of the tile of a block, and how its warps share them.
template <int Rows, int Columns, int WarpRows, int WarpColumns>
struct WarpGrid {
  static constexpr int kRows = Rows, kColumns = Columns;
  static constexpr int kThreads = WarpRows * WarpColumns * kWarp;
  static constexpr int kBlocksEach = 512 / kThreads;  // blocks on a multiprocessor: 128 registers a thread
  static constexpr int kWarpRows = Rows / WarpRows, kWarpColumns = Columns / WarpColumns;  // of one warp's tile
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / kWarp / WarpColumns * kWarpRows; }
  __device__ static int first_column() { return static_cast<int>(threadIdx.x) / kWarp % WarpColumns * kWarpColumns; }
};

// Float32: LaneRows x (32 / LaneRows) lanes share a warp's tile. A thread's rows lie LaneRows apart; its columns are runs of
// four. Per k it reads as many floats of A and B as its tile has rows and columns, for rows * columns multiply-adds.
template <class Grid, int LaneRows>
class SimtProduct : public Grid {
  static constexpr int kLaneColumns = kWarp / LaneRows;

 public:
  static constexpr int kPitchA = kTileDepth + 4, kPitchB = Grid::kColumns + 4;
  static constexpr int kRowCount = Grid::kWarpRows / LaneRows, kRun = 4,
                       kRunCount = Grid::kWarpColumns / kLaneColumns / kRun;

  // Of the tile: the thread's i-th row, and the first column of its j-th run of kRun columns.
  __device__ __forceinline__ static int row(int i) {
    return Grid::first_row() + Grid::lane() / kLaneColumns + i * LaneRows;
  }
  __device__ __forceinline__ static int column(int j) {
    return Grid::first_column() + (Grid::lane() % kLaneColumns + j * kLaneColumns) * kRun;
  }
  // The kRun values at row(i), column(j).
  __device__ __forceinline__ const float* values(int i, int j) const { return sums_[i][j]; }

  __device__ __forceinline__ void add(const float* a, const float* b) {
    const float* a_rows = a + row(0) * kPitchA;
    const float* b_columns = b + column(0);
#pragma unroll 1  // two k at a time: the loads of more, brought forward, would not fit the registers
    for (int k = 0; k < kTileDepth; k += 2) {
      float2 left[kRowCount];
#pragma unroll
      for (int i = 0; i < kRowCount; ++i)
        left[i] = *reinterpret_cast<const float2*>(a_rows + i * LaneRows * kPitchA + k);
      add_column<0>(left, b_columns + k * kPitchB);
      add_column<1>(left, b_columns + (k + 1) * kPitchB);
    }
  }

 private:
  template <int K>
  __device__ __forceinline__ void add_column(const float2 (&left)[kRowCount], const float* b) {
#pragma unroll
    for (int j = 0; j < kRunCount; ++j) {
      const float4 right = *reinterpret_cast<const float4*>(b + j * kLaneColumns * kRun);
#pragma unroll
      for (int i = 0; i < kRowCount; ++i) {
        const float l = K == 0 ? left[i].x : left[i].y;
        sums_[i][j][0] += l * right.x;
        sums_[i][j][1] += l * right.y;
        sums_[i][j][2] += l * right.z;
        sums_[i][j][3] += l * right.w;
      }
    }
  }

  float sums_[kRowCount][kRunCount][kRun] = {};
};

// What the two tensor-core products share: the places of their sums (mma.cuh has the picture).
template <class Grid>
class MmaProduct : public Grid {
 public:
  static constexpr int kRowTiles = Grid::kWarpRows / 16, kColumnTiles = Grid::kWarpColumns / 8;
  static constexpr int kRowCount = 2 * kRowTiles, kRun = 2, kRunCount = kColumnTiles;

  __device__ __forceinline__ static int row(int i) { return Grid::first_row() + 8 * i + Grid::lane() / 4; }
  __device__ __forceinline__ static int column(int j) { return Grid::first_column() + 8 * j + 2 * (Grid::lane() % 4); }
  __device__ __forceinline__ const float* values(int i, int j) const { return sums_[i / 2][j] + 2 * (i % 2); }

 protected:
  float sums_[kRowTiles][kColumnTiles][4] = {};
};

template <class Grid>
class Tf32Product : public MmaProduct<Grid> {
  using Base = MmaProduct<Grid>;

 public:
  static constexpr int kPitchA = kTileDepth + 4, kPitchB = Grid::kColumns + 8;

  __device__ __forceinline__ void add(const float* a, const float* b) {
    const int lane = Grid::lane();
    const float* a_rows = a + (Grid::first_row() + lane % 16) * kPitchA + lane / 16 * 4;
    const float* b_columns = b + lane % 4 * kPitchB + Grid::first_column() + lane / 4;
#pragma unroll
    for (int k = 0; k < kTileDepth; k += 8) {
      uint32_t right[Base::kColumnTiles][2];
#pragma unroll
      for (int j = 0; j < Base::kColumnTiles; ++j) {
        right[j][0] = to_tf32(b_columns[k * kPitchB + 8 * j]);
        right[j][1] = to_tf32(b_columns[(k + 4) * kPitchB + 8 * j]);
      }
#pragma unroll
      for (int i = 0; i < Base::kRowTiles; ++i) {
        uint32_t left[4];
        load_matrices(left, a_rows + i * 16 * kPitchA + k);
#pragma unroll
        for (uint32_t& bits : left) bits = to_tf32(__uint_as_float(bits));
#pragma unroll
        for (int j = 0; j < Base::kColumnTiles; ++j) mma_tf32(this->sums_[i][j], left, right[j]);
      }
    }
  }
};

template <class Grid>
class Bf16Product : public MmaProduct<Grid> {
  using Base = MmaProduct<Grid>;

 public:
  static constexpr int kPitchA = kTileDepth + 8, kPitchB = Grid::kColumns + 4;

  __device__ __forceinline__ void add(const float* a, const float* b) {
    const int g = Grid::lane() / 4, t = Grid::lane() % 4;
    const float* a_rows = a + (Grid::first_row() + g) * kPitchA + 2 * t;
    const float* b_columns = b + 2 * t * kPitchB + Grid::first_column() + g;
    uint32_t right[Base::kColumnTiles][2];
#pragma unroll
    for (int j = 0; j < Base::kColumnTiles; ++j) {
      right[j][0] = pack_bf16(b_columns[8 * j], b_columns[kPitchB + 8 * j]);
      right[j][1] = pack_bf16(b_columns[8 * kPitchB + 8 * j], b_columns[9 * kPitchB + 8 * j]);
    }
#pragma unroll
    for (int i = 0; i < Base::kRowTiles; ++i) {
      const float* upper = a_rows + i * 16 * kPitchA;
      const float* lower = upper + 8 * kPitchA;
      const uint32_t left[4] = {pack(upper), pack(lower), pack(upper + 8), pack(lower + 8)};
#pragma unroll
      for (int j = 0; j < Base::kColumnTiles; ++j) mma_bf16(this->sums_[i][j], left, right[j]);
    }
  }

 private:
  static_assert(kTileDepth == 16, "one mma deep");
  __device__ __forceinline__ static uint32_t pack(const float* two) {
    const float2 v = *reinterpret_cast<const float2*>(two);
    return pack_bf16(v.x, v.y);
  }
};

}  // namespace asap::cuda
