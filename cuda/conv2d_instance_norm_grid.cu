// A layer of few weights in one kernel, for Hopper (compute capability 9.0): each block convolves one tile and keeps its sums in
// registers, the grid waits for itself once, and each block norms what it holds. Only x, w, y and the tiles' statistics
// touch memory.
//
// Why: at batch 1 the first five layers of the low-res stream are 0.1 to 3 us of bytes and products, and take 12 to 30 us in two
// kernels: sums are written and read in float32, and what runs is mostly the filling of pipelines. Here nothing is filled twice.
// All weights of a block's outputs (18 to 72 KiB) are copied to shared memory while the kernel ahead still runs; then the
// tile's window of the padded picture, once for all taps, in two halves of the channels; the products of each half follow each
// other without a barrier.
//
// The product is D[pixel][output] = X[pixel][k] W[output][k], 64 pixels at a time: 8 rows of 8 columns of the picture. Both
// operands lie chunk by chunk of 8 channels, without swizzle. The window's columns are dealt to their phases, x % stride, so
// that the columns that 8 neighbouring pixels of y read at one tap are neighbours: one core matrix, and another tap is another
// start address. Outputs are dealt to the columns of D so that each lane has 8 neighbouring ones: it stores 16 bytes.
//
// The norm: lanes, warps, the block and at last the plane join means and squared deviations of their parts (Chan, Golub,
// LeVeque 1983), in a fixed order. The variant grid_bf16 of conv2d_instance_norm. Next: hopper.cuh for wgmma, common.cuh for
// grid_barrier.
#include "cuda/conv2d_instance_norm.cuh"
#include "cuda/divisor.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {
namespace {

constexpr int kGridSide = 8;  // rows and columns of a product of 64 pixels

// A block's rows x columns of products, `products` for each warpgroup, and its outputs. A thread has so many registers that a
// block of one layer and one of the next fit on a multiprocessor side by side (64 Ki registers, 228 KiB): weights come early.
template <int rows, int columns, int products, int outputs, int registers>
struct GridTile {
  static constexpr int kRows = rows * kGridSide, kColumns = columns * kGridSide;  // pixels
  static constexpr int kProductColumns = columns, kProducts = products, kOutputs = outputs;
  static constexpr int kRegisters = registers;
  static constexpr int kThreads = rows * columns / products * 128, kWarps = kThreads / kWarp;
  static constexpr int kWeightPlane =
      kOutputs * kChunkBytes + kChunkBytes;     // a chunk of all outputs; see GridPlan::plane
  static constexpr int kValues = kOutputs / 4;  // outputs of a lane
};
// From the one that leaves the fewest multiprocessors idle to the one that copies the fewest bytes.
using SmallGridTile = GridTile<1, 1, 1, 32, 72>;
using MediumGridTile = GridTile<1, 2, 1, 64, 72>;
using LargeGridTile = GridTile<2, 4, 4, 64, 184>;

// What follows from the layer's sizes, and where things lie in shared memory, in bytes: the weights first, then what is named
// here. Statistics take the operands' place when the products are done.
struct GridPlan {
  int tile_columns, tiles;             // of a picture: tiles of pixels side by side, all
  int pitch;                           // of statistics: the outputs, rounded up to whole tiles
  int chunks;                          // of 8 channels, even
  int parts, part_chunks;              // of the chunks, two if they can be: one is copied while the other is multiplied
  int columns, phase_columns, places;  // of the window: places of a row, those of a phase, all
  int plane;  // bytes between chunks: 16 times an odd number, so that a pixel's meet no bank twice
  int window, partial, params, sources, counts, shared_bytes;
  Divisor by_chunks, by_part_chunks, by_columns, by_phase_columns;

  template <class Tile>
  GridPlan(const ChannelsLastSizes& s, Tile)
      : tile_columns(static_cast<int>(ceil_div(s.ow, Tile::kColumns))),
        tiles(tile_columns * static_cast<int>(ceil_div(s.oh, Tile::kRows))),
        pitch(static_cast<int>(ceil_div(s.o, Tile::kOutputs)) * Tile::kOutputs),
        chunks(static_cast<int>(ceil_div(s.c, 16)) * 2),
        parts(chunks % 4 == 0 ? 2 : 1),
        part_chunks(chunks / parts),
        columns((Tile::kColumns - 1 + static_cast<int>(ceil_div(s.kh, s.stride_h))) * s.stride_h),
        phase_columns(columns / s.stride_h),
        places(((Tile::kRows - 1) * s.stride_h + s.kh) * columns),
        plane((places | 1) * kChunkBytes),
        by_chunks(chunks),
        by_part_chunks(part_chunks),
        by_columns(columns),
        by_phase_columns(phase_columns) {
    constexpr int kFloat = sizeof(float);
    window = s.kh * s.kh * chunks * Tile::kWeightPlane;
    partial = 2 * kFloat * std::max(tiles, Tile::kWarps) * Tile::kOutputs;
    params = partial + kFloat * Tile::kThreads;
    sources = std::max(window + chunks * plane, params + 3 * kFloat * Tile::kOutputs);
    counts = sources + kFloat * places;
    shared_bytes = counts + kFloat * (tiles + Tile::kWarps);
  }
};

// What a block computes: its first picture, row, column and output.
template <class Tile>
struct GridPlace {
  int picture, tile, row, column, output;
  __device__ __forceinline__ explicit GridPlace(const GridPlan& plan)
      : picture(static_cast<int>(blockIdx.x) / plan.tiles),
        tile(static_cast<int>(blockIdx.x) % plan.tiles),
        row(tile / plan.tile_columns * Tile::kRows),
        column(tile % plan.tile_columns * Tile::kColumns),
        output(static_cast<int>(blockIdx.y) * Tile::kOutputs) {}
};

// ---- operands -----------------------------------------------------------------------------------------------------------

// Of a chunk of channels; the others count as zeros.
__device__ __forceinline__ int bytes_there(const ChannelsLastSizes& s, int chunk) {
  return min(max(s.c * 2 - chunk * kChunkBytes, 0), kChunkBytes);
}

// Starts the copies of the block's weights, [tap][chunk][column of D]. Lane t of four has columns 2 t and 2 t + 1 of each 8
// (mma.cuh), and is to have outputs 8 t .. 8 t + 7 of each 32.
template <class Tile>
__device__ __forceinline__ void copy_weights(const bf16* w, const ChannelsLastSizes& s, const GridPlan& plan,
                                             int first_output, char* weights) {
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kOutputs * plan.chunks; i += Tile::kThreads) {
    int chunk = i;
    const int output = plan.by_chunks.divide(chunk);
    const int column = output / 32 * 32 + output % 8 / 2 * 8 + output % 32 / 8 * 2 + output % 2;
    const int there = first_output + output < s.o ? bytes_there(s, chunk) : 0;
    const bf16* from = w;
    if (there > 0) from += (first_output + output) * s.kh * s.kh * s.w_pitch + chunk * 8;
    char* to = weights + chunk * Tile::kWeightPlane + column * kChunkBytes;
    for (int tap = 0; tap < s.kh * s.kh; ++tap) {
      copy_async_part<kChunkBytes>(to, from, there);
      from += s.w_pitch, to += plan.chunks * Tile::kWeightPlane;
    }
  }
}

// The chunk of x at which the pixel of each place of the window begins, [row][phase][column of the phase]; negative: zeros.
template <class Tile>
__device__ __forceinline__ void fill_sources(const ChannelsLastSizes& s, const GridPlan& plan,
                                             const GridPlace<Tile>& place, int* sources) {
  const int top = place.row * s.stride_h - s.padding_h, left = place.column * s.stride_h - s.padding_h;
  for (int i = static_cast<int>(threadIdx.x); i < plan.places; i += Tile::kThreads) {
    int of_phase = i;
    const int row = plan.by_columns.divide(of_phase), phase = plan.by_phase_columns.divide(of_phase);
    const int h = padded_index(top + row, s.h, s.pad_mode);
    const int w = padded_index(left + of_phase * s.stride_h + phase, s.w, s.pad_mode);
    sources[i] = h >= 0 && w >= 0 ? (h * s.w + w) * (s.x_pitch / 8) : -1;
  }
}

// Starts the copies of a part of the window, [chunk][place]. Where several come from is looked up before the first is started.
template <class Tile>
__device__ __forceinline__ void copy_window(const bf16* x, const ChannelsLastSizes& s, const GridPlan& plan,
                                            const int* sources, int part, char* window) {
  constexpr int kBatch = 6;
  const int count = plan.places * plan.part_chunks;
  for (int first = static_cast<int>(threadIdx.x); first < count; first += kBatch * Tile::kThreads) {
    int chunks[kBatch], places[kBatch], from[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      chunks[i] = min(first + i * Tile::kThreads, count - 1);
      places[i] = plan.by_part_chunks.divide(chunks[i]);
      chunks[i] += part * plan.part_chunks;
      from[i] = sources[places[i]];
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (first + i * Tile::kThreads >= count) break;
      const int there = from[i] >= 0 ? bytes_there(s, chunks[i]) : 0;
      copy_async_part<kChunkBytes>(window + chunks[i] * plan.plane + places[i] * kChunkBytes,
                                   x + (there > 0 ? int64_t{from[i] + chunks[i]} * 8 : 0), there);
    }
  }
}

// ---- products -------------------------------------------------------------------------------------------------------------

// The warpgroup's first product, told by one lane, so that the compiler knows it to be the same for all.
template <class Tile>
__device__ __forceinline__ int first_product() {
  return Tile::kThreads == 128 ? 0 : __shfl_sync(kAllLanes, static_cast<int>(threadIdx.x) / 128, 0) * Tile::kProducts;
}
// The products of a warpgroup lie side by side.
template <class Tile>
__device__ __forceinline__ int product_row() {
  return first_product<Tile>() / Tile::kProductColumns * kGridSide;
}
template <class Tile>
__device__ __forceinline__ int product_column() {
  return first_product<Tile>() % Tile::kProductColumns * kGridSide;
}

// Adds the products of a part of the chunks, at all taps, without waiting for them.
template <class Tile>
__device__ __forceinline__ void multiply_part(int part, const char* weights, const char* window,
                                              const ChannelsLastSizes& s, const GridPlan& plan,
                                              float (&sums)[Tile::kProducts][Tile::kOutputs / 2]) {
  static_assert(Tile::kProductColumns % Tile::kProducts == 0);
  // Descriptors count in units of 16 bytes, which are pixels of the window and columns of D.
  const int row_step = s.stride_h * plan.columns, chunk_step = plan.plane / kChunkBytes;
  constexpr int kWeightStep = Tile::kWeightPlane / kChunkBytes;
  const int first = part * plan.part_chunks;
  uint64_t b = matrix_descriptor(weights, Tile::kWeightPlane, kGridSide * kChunkBytes, false) + first * kWeightStep;
  const uint64_t corner = matrix_descriptor(window, plan.plane, row_step * kChunkBytes, false) +
                          product_row<Tile>() * row_step + product_column<Tile>() + first * chunk_step;
  warpgroup_arrive();
#pragma unroll 1
  for (int tap_row = 0; tap_row < s.kh; ++tap_row) {
    int offset = tap_row * plan.columns;
#pragma unroll 1
    for (int tap_column = 0, phase = 0; tap_column < s.kh; ++tap_column) {
      uint64_t a = corner + offset;
#pragma unroll 2
      for (int chunk = 0; chunk < plan.part_chunks; chunk += 2) {
#pragma unroll
        for (int i = 0; i < Tile::kProducts; ++i)
          warpgroup_multiply<Tile::kOutputs>(sums[i], a + i * kGridSide, b, part + tap_row + tap_column + chunk > 0);
        a += 2 * chunk_step;
        b += 2 * kWeightStep;
      }
      b += (plan.chunks - plan.part_chunks) * kWeightStep;
      offset += plan.phase_columns;
      if (++phase == s.stride_h) phase = 0, offset -= plan.columns - 1;
    }
  }
  warpgroup_commit();
}

// A lane has, of each product, one pixel of two rows (mma.cuh), and of that kValues outputs: 8 of each 32.
__device__ __forceinline__ int register_of(int value, int half) {
  return (value / 8 * 4 + value % 8 / 2) * 4 + half * 2 + value % 2;
}
// f(product, half, row and column of y) for each of a lane's pixels.
template <class Tile, class F>
__device__ __forceinline__ void for_each_pixel(const GridPlace<Tile>& place, F&& f) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp % 4;
#pragma unroll
  for (int i = 0; i < Tile::kProducts; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      f(i, half, place.row + product_row<Tile>() + 2 * warp + half,
        place.column + product_column<Tile>() + i * kGridSide + lane / 4);
    }
  }
}

// ---- statistics -------------------------------------------------------------------------------------------------------------

// Of 8 outputs: lanes kBits, then kBits / 2 .. 4 apart join theirs; each goes on with one half of the outputs. At last
// mean[0] and squares[0] are those of output lane / 4.
template <int kBits>
__device__ __forceinline__ void join_lanes(float (&mean)[8], float (&squares)[8], float& count) {
  const bool upper = threadIdx.x & kBits;
  const float other_count = __shfl_xor_sync(kAllLanes, count, kBits), both = count + other_count;
  const float share = __fdividef(other_count, max(both, 1.0f)), weight = count * share;
  count = both;
  const auto exchange = [&](float& low, float high) {
    const float other = __shfl_xor_sync(kAllLanes, upper ? low : high, kBits);
    low = upper ? high : low;
    return other;
  };
  constexpr int kKept = kBits / 4;
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const float other_mean = exchange(mean[i], mean[i + kKept]), difference = other_mean - mean[i];
    const float other_squares = exchange(squares[i], squares[i + kKept]);
    mean[i] = fmaf(difference, share, mean[i]);
    squares[i] = fmaf(difference * difference, weight, squares[i] + other_squares);
  }
  if constexpr (kBits > 4) join_lanes<kBits / 2>(mean, squares, count);
}

// Mean and squared deviations of a warp's pixels, and their number: to moments[output of the tile] and *warp_count.
template <class Tile>
__device__ __forceinline__ void warp_moments(const float (&sums)[Tile::kProducts][Tile::kOutputs / 2],
                                             const ChannelsLastSizes& s, const GridPlace<Tile>& place, float2* moments,
                                             float* warp_count) {
  constexpr int kPixels = 2 * Tile::kProducts;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float there[kPixels], lane_count = 0;
  for_each_pixel<Tile>(place, [&](int i, int half, int row, int column) {
    there[2 * i + half] = row < s.oh && column < s.ow ? 1.0f : 0.0f;
    lane_count += there[2 * i + half];
  });
  const float share = __fdividef(1.0f, max(lane_count, 1.0f));
#pragma unroll
  for (int first = 0; first < Tile::kValues; first += 8) {
    float mean[8], squares[8], count = lane_count;
#pragma unroll
    for (int v = 0; v < 8; ++v) {
      const auto pixel = [&](int i) { return sums[i / 2][register_of(first + v, i % 2)]; };
      mean[v] = squares[v] = 0;
#pragma unroll
      for (int i = 0; i < kPixels; ++i) mean[v] = fmaf(there[i] * share, pixel(i), mean[v]);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        const float deviation = there[i] * (pixel(i) - mean[v]);
        squares[v] = fmaf(deviation, deviation, squares[v]);
      }
    }
    join_lanes<kWarp / 2>(mean, squares, count);
    moments[first * 4 + lane % 4 * 8 + lane / 4] = make_float2(mean[0], squares[0]);
    if (lane == 0) *warp_count = count;
  }
}

// Mean and squared deviations of `total` numbers from those of `parts` of them, for each output: moments[part][output]. Every
// thread gets those of its output, threadIdx.x % kOutputs.
template <class Tile>
__device__ __forceinline__ float2 join_moments(const float2* moments, const float* counts, int parts, int total,
                                               float* partial) {
  constexpr int kShares = Tile::kThreads / Tile::kOutputs;
  const int output = static_cast<int>(threadIdx.x) % Tile::kOutputs,
            share = static_cast<int>(threadIdx.x) / Tile::kOutputs;
  float sum = 0, squares = 0;
#pragma unroll 8
  for (int part = share; part < parts; part += kShares)
    sum = fmaf(counts[part], moments[part * Tile::kOutputs + output].x, sum);
  const float mean =
      __fdividef(total_of_column<Tile::kOutputs, Tile::kThreads>(sum, partial), static_cast<float>(total));
#pragma unroll 8
  for (int part = share; part < parts; part += kShares) {
    const float2 own = moments[part * Tile::kOutputs + output];
    const float difference = own.x - mean;
    squares += fmaf(difference * difference, counts[part], own.y);
  }
  return make_float2(mean, total_of_column<Tile::kOutputs, Tile::kThreads>(squares, partial));
}

// ---- the kernel -------------------------------------------------------------------------------------------------------------

__device__ unsigned arrived_blocks;  // of grid_barrier

// Blocks (pictures x tiles of pixels, tiles of outputs). statistics [pictures][tiles][pitch].
template <class Tile>
__global__ void __maxnreg__(Tile::kRegisters)
    conv_grid_kernel(const bf16* x, const bf16* w, ChannelsLastSizes s, GridPlan plan, NormArguments norm,
                     float2* statistics, bf16* y) {
  char* shared = dynamic_shared<char>();
  auto* moments = reinterpret_cast<float2*>(shared);
  auto *partial = reinterpret_cast<float*>(shared + plan.partial),
       *params = reinterpret_cast<float*>(shared + plan.params);
  auto* sources = reinterpret_cast<int*>(shared + plan.sources);
  auto* tile_counts = reinterpret_cast<float*>(shared + plan.counts);
  float* warp_counts = tile_counts + plan.tiles;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const GridPlace<Tile> place(plan);

  // Weights are read before the kernel ahead has ended: what lets its successor start early writes pictures, never weights.
  copy_weights<Tile>(w, s, plan, place.output, shared);
  fill_sources(s, plan, place, sources);
  for (int i = thread; i < plan.tiles; i += Tile::kThreads) {
    const int row = i / plan.tile_columns * Tile::kRows, column = i % plan.tile_columns * Tile::kColumns;
    tile_counts[i] = static_cast<float>(min(Tile::kRows, s.oh - row) * min(Tile::kColumns, s.ow - column));
  }
  __syncthreads();
  wait_for_previous_kernel();
  x += int64_t{place.picture} * s.h * s.w * s.x_pitch;
  for (int part = 0; part < 2; ++part) {
    if (part < plan.parts) copy_window<Tile>(x, s, plan, sources, part, shared + plan.window);
    copy_commit();
  }
  float sums[Tile::kProducts][Tile::kOutputs / 2];
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    part == 0 ? copy_wait<1>() : copy_wait<0>();
    fence_shared_for_async();
    __syncthreads();
    if (part < plan.parts) multiply_part<Tile>(part, shared, shared + plan.window, s, plan, sums);
  }
#pragma unroll
  for (int i = 0; i < Tile::kProducts; ++i) warpgroup_wait<0>(sums[i]);
  let_next_kernel_start();  // not before: its weights would queue before this one's pixels
  __syncthreads();          // nobody reads the operands any more

  warp_moments<Tile>(sums, s, place, moments + warp * Tile::kOutputs, warp_counts + warp);
  __syncthreads();
  const int rows = min(Tile::kRows, s.oh - place.row), columns = min(Tile::kColumns, s.ow - place.column);
  const float2 of_tile = join_moments<Tile>(moments, warp_counts, Tile::kWarps, rows * columns, partial);
  statistics += int64_t{place.picture} * plan.tiles * plan.pitch + place.output;
  if (thread < Tile::kOutputs) statistics[place.tile * plan.pitch + thread] = of_tile;
  grid_barrier(&arrived_blocks);

  // All blocks of these outputs read the same statistics: each begins with its own tile, so that they ask different parts of
  // the second-level cache at a time.
  constexpr int kPairs = Tile::kOutputs / 2;  // of outputs: 16 bytes
  for (int i = thread; i < plan.tiles * kPairs; i += Tile::kThreads) {
    int tile = place.tile + i / kPairs;
    if (tile >= plan.tiles) tile -= plan.tiles;
    const int output = i % kPairs * 2;
    copy_async<16>(moments + tile * Tile::kOutputs + output, statistics + tile * plan.pitch + output);
  }
  copy_commit();
  copy_wait<0>();
  __syncthreads();
  const float2 of_plane = join_moments<Tile>(moments, tile_counts, plan.tiles, s.pixels(), partial);
  if (thread < Tile::kOutputs) {
    const int o = min(place.output + thread, s.o - 1);
    params[thread] = of_plane.x;
    params[Tile::kOutputs + thread] =
        norm.gamma[o] * rsqrtf(__fdividef(of_plane.y, static_cast<float>(s.pixels())) + norm.eps);
    params[2 * Tile::kOutputs + thread] = norm.beta[o];
  }
  __syncthreads();

  y += int64_t{place.picture} * s.pixels() * s.y_pitch;
#pragma unroll
  for (int eight = 0; eight < Tile::kValues / 8; ++eight) {
    const int output = eight * 32 + thread % 4 * 8, o = place.output + output;
    NormOfFour apply[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto four = [&](int param) {
        return *reinterpret_cast<const float4*>(params + param * Tile::kOutputs + output + 4 * i);
      };
      apply[i] = {four(0), four(1), four(2), norm.slope};
    }
    for_each_pixel<Tile>(place, [&](int i, int half, int row, int column) {
      const auto four = [&](int first) {
        const auto at = [&](int v) { return sums[i][register_of(eight * 8 + first + v, half)]; };
        return apply[first / 4](float4{at(0), at(1), at(2), at(3)});
      };
      if (row < s.oh && column < s.ow && o < s.o)
        store_eight(four(0), four(4), y + (row * s.ow + column) * s.y_pitch + o);
    });
  }
}

template <class Tile>
dim3 grid_blocks(const ChannelsLastSizes& s, const GridPlan& plan) {
  return {static_cast<unsigned>(s.n * plan.tiles), static_cast<unsigned>(plan.pitch / Tile::kOutputs)};
}

// f(Tile, its plan) for the first tile whose blocks are no more than one for each multiprocessor. Returns whether there is one.
template <class F>
bool with_grid_tile(const ChannelsLastSizes& s, F&& f) {
  const auto with = [&]<class Tile>(Tile tile) {
    const GridPlan plan(s, tile);
    if (int64_t{s.n} * plan.tiles * (plan.pitch / Tile::kOutputs) > card().multiprocessors ||
        static_cast<size_t>(plan.shared_bytes) > card().shared_bytes) {
      return false;
    }
    f(tile, plan);
    return true;
  };
  return with(SmallGridTile{}) || with(MediumGridTile{}) || with(LargeGridTile{});
}

void run_grid(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, const Conv2dParams& p,
              const NormParams& norm_params, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  with_grid_tile(s, [&]<class Tile>(Tile, const GridPlan& plan) {
    Tensor statistics = scratch(int64_t{2} * s.n * plan.tiles * plan.pitch);
    launch(conv_grid_kernel<Tile>,
           Launch(grid_blocks<Tile>(s, plan), Tile::kThreads, static_cast<size_t>(plan.shared_bytes))
               .together()
               .overlapping(),
           x.data<bf16>(), w.data<bf16>(), s, plan, NormArguments(gamma, beta, norm_params),
           static_cast<float2*>(statistics.raw()), y.data<bf16>());
  });
}

bool takes_grid(const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const Conv2dParams& p,
                const NormParams&, Tensor& y) {
  if (x.dtype() != DType::bf16 || !card_has_wgmma() || !takes_pixels(x, w, p, y)) return false;
  constexpr int64_t kSide = 1 << 12, kChannels = 1 << 10,
                    kOffsets = INT32_MAX / 2;  // so that a plan is counted in 31 bits
  const auto places = [](const Tensor& t) { return t.size(0) * t.size(2) * t.size(3) * pixel_stride(t); };
  return std::max({x.size(2), x.size(3), y.size(2), y.size(3)}) <= kSide && p.padding.h <= kSide && w.size(2) <= 16 &&
         p.stride.h <= 16 && x.size(0) <= kSide && x.size(1) <= kChannels && places(x) < kOffsets &&
         places(w) < kOffsets && places(y) < kOffsets &&
         with_grid_tile(channels_last_sizes(x, w, p, y), [](auto, const GridPlan&) {});
}

}  // namespace

void add_conv2d_instance_norm_grid() {
  kernels::conv2d_instance_norm.add(Device::cuda, "grid_bf16", run_grid, takes_grid, {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
