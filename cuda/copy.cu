// fill and copy: any strides, any pair of dtypes. Both are bound by memory alone: every element read and written once.
// `vectorized` moves 16 bytes at a time where as many lie side by side in both; `transposed` goes through shared memory where
// they have different innermost dimensions. Next: strided.cuh, elementwise.cu.
#include <array>
#include <optional>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"

namespace asap::cuda {
namespace {

// ---- vectorized -------------------------------------------------------------------------------------------------------

template <class T>
struct Constant {
  T value;
  __device__ T operator()() const { return value; }
};
struct Same {
  template <class T>
  __device__ T operator()(T x) const {
    return x;
  }
};

void fill_vectorized(double value, Tensor& y) {
  dispatch_all(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    map<T, T>(Constant<T>{static_cast<T>(value)}, std::array<const Tensor*, 1>{&y}, y);
  });
}

// Calls f(From{}, To{}) for the dtypes that the fast variants take; returns false for others. Where nothing is converted, an
// element is so many bytes, whatever they mean.
template <class F>
bool dispatch_copy(const Tensor& x, const Tensor& y, const F& f) {
  const DType from = x.dtype(), to = y.dtype();
  if (from == to && size_of(from) == 1) return f(uint8_t{}, uint8_t{}), true;
  if (from == to && size_of(from) == 2) return f(uint16_t{}, uint16_t{}), true;
  if (from == to && size_of(from) == 4) return f(uint32_t{}, uint32_t{}), true;
  if (from == to && size_of(from) == 8) return f(uint64_t{}, uint64_t{}), true;
  if (from == DType::f32 && to == DType::bf16) return f(float{}, bf16{}), true;
  if (from == DType::bf16 && to == DType::f32) return f(bf16{}, float{}), true;
  if (from == DType::u8 && to == DType::f32) return f(uint8_t{}, float{}), true;
  if (from == DType::f32 && to == DType::u8) return f(float{}, uint8_t{}), true;
  return false;
}
bool is_fast(const Tensor& x, const Tensor& y) {
  return dispatch_copy(x, y, [](auto, auto) {}) && FastIndex<2>::fits({&x, &y});
}

void copy_vectorized(const Tensor& x, Tensor& y) {
  dispatch_copy(x, y, [&](auto from, auto to) {
    map<decltype(from), decltype(to)>(Same{}, std::array<const Tensor*, 2>{&x, &y}, y);
  });
}

// ---- transposed -----------------------------------------------------------------------------------------------------
// A 32 x 32 tile is read along x's innermost dimension and written along y's, so that either way a warp touches whole
// lines of 128 bytes; rows of 33 keep the tile's columns in different banks.

constexpr int kTile = 32, kTileRows = 8;  // threads of a block: kTile x kTileRows

// y[i * y_stride + j] = x[i + j * x_stride] for i < rows, j < columns, repeated over the other dimensions.
struct Transposition {
  int rows, columns, x_stride, y_stride;
  FastIndex<2> others;
  Divisor row_tiles, column_tiles;
  int tiles() const { return others.count * static_cast<int>(row_tiles.value * column_tiles.value); }
};

// Nothing if the innermost dimensions are the same or too short for tiles.
std::optional<Transposition> as_transposition(const Tensor& x, const Tensor& y) {
  constexpr unsigned kShortest = kTile / 4;
  FastIndex<2> index({&x, &y});
  const int inner = index.rank - 1;
  int unit = 0;
  while (unit < inner && index.strides[0][unit] != 1) ++unit;
  if (inner < 1 || unit == inner || index.strides[1][inner] != 1 || index.repeats(0)) return {};
  const unsigned rows = index.sizes[unit].value, columns = index.sizes[inner].value;
  if (rows < kShortest || columns < kShortest) return {};
  Transposition t{.rows = static_cast<int>(rows),
                  .columns = static_cast<int>(columns),
                  .x_stride = index.strides[0][inner],
                  .y_stride = index.strides[1][unit],
                  .others = index,
                  .row_tiles = Divisor(ceil_div(rows, kTile)),
                  .column_tiles = Divisor(ceil_div(columns, kTile))};
  t.others.remove(inner);
  t.others.remove(unit);
  return t;
}

template <class From, class To>
__global__ void transpose_kernel(const From* x, Transposition t, int tiles, To* y) {
  ASAP_SHARED(To, tile, [kTile][kTile + 1]);
  const int tx = static_cast<int>(threadIdx.x), ty = static_cast<int>(threadIdx.y);
  for (unsigned k = blockIdx.x; k < static_cast<unsigned>(tiles); k += gridDim.x) {
    const unsigned row = t.row_tiles.quotient(k), other = t.column_tiles.quotient(row);
    const int i = static_cast<int>(k - row * t.row_tiles.value) * kTile;
    const int j = static_cast<int>(row - other * t.column_tiles.value) * kTile;
    int offset[2];
    t.others.offsets(other, offset);
#pragma unroll
    for (int c = ty; c < kTile; c += kTileRows) {
      if (i + tx < t.rows && j + c < t.columns)
        tile[c][tx] = To(computed(x[offset[0] + i + tx + (j + c) * t.x_stride]));
    }
    __syncthreads();
#pragma unroll
    for (int r = ty; r < kTile; r += kTileRows) {
      if (i + r < t.rows && j + tx < t.columns) y[offset[1] + (i + r) * t.y_stride + j + tx] = tile[tx][r];
    }
    __syncthreads();  // before the next tile
  }
}

void copy_transposed(const Tensor& x, Tensor& y) {
  const Transposition t = *as_transposition(x, y);
  const Launch shape{blocks_for(int64_t{t.tiles()} * kTile * kTileRows), {kTile, kTileRows}};
  dispatch_copy(x, y, [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    launch(transpose_kernel<From, To>, shape, static_cast<const From*>(x.raw()), t, t.tiles(),
           static_cast<To*>(y.raw()));
  });
}

}  // namespace

void register_copy() {
  constexpr Takes kAny{.strided = true, .bf16 = true};
  kernels::fill.add(
      Device::cuda, "vectorized", fill_vectorized, [](double, const Tensor& y) { return FastIndex<1>::fits({&y}); },
      kAny);
  kernels::copy.add(
      Device::cuda, "transposed", copy_transposed,
      [](const Tensor& x, const Tensor& y) { return is_fast(x, y) && as_transposition(x, y).has_value(); }, kAny);
  kernels::copy.add(Device::cuda, "vectorized", copy_vectorized, is_fast, kAny);
}

}  // namespace asap::cuda
