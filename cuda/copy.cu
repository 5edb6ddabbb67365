// fill and copy: any strides, any pair of dtypes. Both are bound by memory alone: every element read and written once.
// `vectorized` moves 16 bytes a thread where the tensors are contiguous; `strided` as many bytes as lie side by side in
// both; `transposed` goes through shared memory where they have different innermost dimensions. Next: elementwise.cu.
#include <array>
#include <optional>

#include "cuda/common.cuh"
#include "cuda/mma.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"

namespace asap::cuda {
namespace {

// C++'s static_cast, with bf16 on either side.
template <class To, class From>
__device__ __forceinline__ To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return static_cast<To>(to_float(x));
  } else if constexpr (std::is_same_v<To, bf16>) {
    return to_bf16(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

// ---- vectorized: contiguous memory ----------------------------------------------------------------------------------

bool is_aligned(const Tensor& x) { return reinterpret_cast<uintptr_t>(x.raw()) % 16 == 0; }

__global__ void copy_16_bytes_kernel(const uint4* x, int64_t bytes, uint4* y) {
  const int64_t whole = bytes / 16;
  for_each_index(whole, [&](int64_t i) { y[i] = x[i]; });
  for_each_index(bytes % 16, [&](int64_t i) {
    reinterpret_cast<uint8_t*>(y + whole)[i] = reinterpret_cast<const uint8_t*>(x + whole)[i];
  });
}

void copy_vectorized(const Tensor& x, Tensor& y) {
  const auto bytes = static_cast<int64_t>(x.bytes());
  launch(copy_16_bytes_kernel, {blocks_for(bytes, 16), kBlock}, static_cast<const uint4*>(x.raw()), bytes,
         static_cast<uint4*>(y.raw()));
}

bool is_plain_copy(const Tensor& x, const Tensor& y) {
  return x.dtype() == y.dtype() && x.is_contiguous() && y.is_contiguous() && is_aligned(x) && is_aligned(y);
}

// Whether y's elements lie without gaps, in any order.
bool is_dense(const Tensor& y) {
  if (y.is_contiguous() || !FastIndex<1>::fits({&y})) return y.is_contiguous();
  const FastIndex<1> index({&y});
  return index.rank == 1 && index.strides[0][0] == 1;
}

template <class T>
__global__ void fill_16_bytes_kernel(Vector<T, 16 / sizeof(T)> values, int64_t count, T* y) {
  constexpr int kWidth = 16 / sizeof(T);
  for_each_index(count / kWidth, [&](int64_t i) { reinterpret_cast<Vector<T, kWidth>*>(y)[i] = values; });
  for_each_index(count % kWidth, [&](int64_t i) { y[count / kWidth * kWidth + i] = values.v[0]; });
}

void fill_vectorized(double value, Tensor& y) {
  dispatch_all(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    constexpr int kWidth = 16 / sizeof(T);
    Vector<T, kWidth> values;
    std::fill_n(values.v, kWidth, static_cast<T>(value));
    launch(fill_16_bytes_kernel<T>, {blocks_for(y.numel(), kWidth), kBlock}, values, y.numel(), y.data<T>());
  });
}

// ---- strided --------------------------------------------------------------------------------------------------------

// Copies of one dtype: Unit is as much as lies side by side and aligned in both tensors, whatever it holds.
template <class Unit>
constexpr int kBatch = std::min<int>(16 / sizeof(Unit), 4);

template <class Unit>
__global__ void copy_units_kernel(const char* x, int element_bytes, FastIndex<2> index, char* y) {
  Unit units[kBatch<Unit>];
  int to[kBatch<Unit>];
  const auto load = [&](unsigned b, unsigned i) {
    int offset[2];
    index.offsets(i, offset);
    units[b] = *reinterpret_cast<const Unit*>(x + int64_t{offset[0]} * element_bytes);
    to[b] = offset[1];
  };
  const auto store = [&](unsigned b) { *reinterpret_cast<Unit*>(y + int64_t{to[b]} * element_bytes) = units[b]; };
  for_each_batch<kBatch<Unit>>(index.count, load, store);
}

template <int Width, class From, class To>
__global__ void convert_kernel(const From* x, FastIndex<2> index, To* y) {
  for_each_index(index.count, [&](int64_t i) {
    int offset[2];
    index.offsets(static_cast<unsigned>(i), offset);
    const auto in = *reinterpret_cast<const Vector<From, Width>*>(x + offset[0]);
    Vector<To, Width> out;
#pragma unroll
    for (int j = 0; j < Width; ++j) out.v[j] = convert<To>(in.v[j]);
    *reinterpret_cast<Vector<To, Width>*>(y + offset[1]) = out;
  });
}

// Whether steps of `by` elements are the whole copy, none of them one value repeated.
bool takes_width(const FastIndex<2>& index, int by, const Tensor& x, const Tensor& y) {
  return by == 1 || (index.elements % by == 0 && index.can_widen(by, {&x, &y}) && !index.repeats(0));
}

template <class Unit>
bool copy_units(const Tensor& x, FastIndex<2> index, Tensor& y) {
  const int element_bytes = static_cast<int>(size_of(x.dtype())), by = static_cast<int>(sizeof(Unit)) / element_bytes;
  if (by == 0 || !takes_width(index, by, x, y)) return false;
  if (by > 1) index.widen(by);
  launch(copy_units_kernel<Unit>, {blocks_for(index.count, kBatch<Unit>), kBlock}, static_cast<const char*>(x.raw()),
         element_bytes, index, static_cast<char*>(y.raw()));
  return true;
}

// Calls f(From{}, To{}) for the pairs of different dtypes that the fast variants know; returns false for others.
template <class F>
bool dispatch_pair(DType from, DType to, const F& f) {
  if (from == DType::f32 && to == DType::bf16) return f(float{}, bf16{}), true;
  if (from == DType::bf16 && to == DType::f32) return f(bf16{}, float{}), true;
  if (from == DType::u8 && to == DType::f32) return f(uint8_t{}, float{}), true;
  if (from == DType::f32 && to == DType::u8) return f(float{}, uint8_t{}), true;
  return false;
}
bool is_fast_pair(const Tensor& x, const Tensor& y) {
  return x.dtype() == y.dtype() || dispatch_pair(x.dtype(), y.dtype(), [](auto, auto) {});
}

void copy_strided(const Tensor& x, Tensor& y) {
  FastIndex<2> index({&x, &y});
  if (x.dtype() == y.dtype()) {
    copy_units<uint4>(x, index, y) || copy_units<uint2>(x, index, y) || copy_units<uint32_t>(x, index, y) ||
        copy_units<uint16_t>(x, index, y) || copy_units<uint8_t>(x, index, y);
    return;
  }
  dispatch_pair(x.dtype(), y.dtype(), [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    constexpr int kWidth = 4;
    if (takes_width(index, kWidth, x, y)) {
      index.widen(kWidth);
      launch(convert_kernel<kWidth, From, To>, {blocks_for(index.count), kBlock}, x.data<From>(), index, y.data<To>());
    } else {
      launch(convert_kernel<1, From, To>, {blocks_for(index.count), kBlock}, x.data<From>(), index, y.data<To>());
    }
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
      if (i + tx < t.rows && j + c < t.columns) tile[c][tx] = convert<To>(x[offset[0] + i + tx + (j + c) * t.x_stride]);
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
  const auto run = [&](auto from, auto to) {
    using From = decltype(from);
    using To = decltype(to);
    launch(transpose_kernel<From, To>, shape, static_cast<const From*>(x.raw()), t, t.tiles(),
           static_cast<To*>(y.raw()));
  };
  if (x.dtype() != y.dtype()) {
    dispatch_pair(x.dtype(), y.dtype(), run);
    return;
  }
  switch (size_of(x.dtype())) {  // whatever it holds
    case 1: return run(uint8_t{}, uint8_t{});
    case 2: return run(uint16_t{}, uint16_t{});
    case 4: return run(uint32_t{}, uint32_t{});
    case 8: return run(uint2{}, uint2{});
    default: fail("copy: unknown size of ", x.dtype());
  }
}

}  // namespace

void register_copy() {
  kernels::fill.add(Device::cuda, "vectorized", fill_vectorized,
                    [](double, const Tensor& y) { return is_dense(y) && is_aligned(y); },
                    {.strided = true, .bf16 = true});
  kernels::copy.add(Device::cuda, "vectorized", copy_vectorized, is_plain_copy, {.bf16 = true});
  kernels::copy.add(Device::cuda, "transposed", copy_transposed, [](const Tensor& x, const Tensor& y) {
    return is_fast_pair(x, y) && FastIndex<2>::fits({&x, &y}) && as_transposition(x, y).has_value();
  }, {.strided = true, .bf16 = true});
  kernels::copy.add(Device::cuda, "strided", copy_strided, [](const Tensor& x, const Tensor& y) {
    return is_fast_pair(x, y) && FastIndex<2>::fits({&x, &y});
  }, {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
