// A layer of few weights in one kernel, for Hopper (compute capability 9.0): each block convolves one tile and keeps its sums in
// registers, the grid waits for itself once, and each block norms what it holds. Only x, w, y and the tiles' statistics
// touch memory.
//
// Why: at batch 1 the first five layers of the low-res stream are 0.1 to 3 us of bytes and products, and take 12 to 30 us in two
// kernels: sums are written and read in float32, and what runs is mostly the filling of pipelines. Here a block copies all
// weights of its outputs (18 to 72 KiB) and the tile's window of the padded picture, each once for all taps, and its products
// follow each other without a barrier but one in stride 2: the taps of even rows begin before the others' pixels are there.
//
// The product is D[pixel][output] = X[pixel][k] W[output][k], 64 pixels at a time: 8 rows of 8 columns of the picture. Rows
// and columns of the window are dealt to their phases, row % stride and column % stride, so that what neighbouring pixels of y
// read at one tap are neighbours, and another tap is another start address. Two layouts, by the chunks of 8 channels of a pixel
// that lie side by side, its `side`:
//   8, for whole slices of 64 channels: wgmma's 128-byte swizzle. Since that is one of addresses, an operand may start at any row
//     of 128 bytes. Copies of tiles (TMA) bring the weights.
//   1, for others (the first layer): not swizzled, chunk by chunk, so that few channels fill few bytes and products.
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
// block of one layer and one of the next fit on a multiprocessor side by side (64 Ki registers, 228 KiB): the next starts early.
template <int rows, int columns, int products, int outputs, int registers>
struct GridTile {
  static constexpr int kRows = rows * kGridSide, kColumns = columns * kGridSide;  // pixels
  static constexpr int kProductColumns = columns, kProducts = products, kOutputs = outputs;
  static constexpr int kRegisters = registers;
  static constexpr int kThreads = rows * columns / products * 128, kWarps = kThreads / kWarp;
  static constexpr int kValues = kOutputs / 4;  // outputs of a lane
};
// From the one that leaves the fewest multiprocessors idle to the one that copies the fewest bytes.
using SmallGridTile = GridTile<1, 1, 1, 32, 72>;
using MediumGridTile = GridTile<1, 2, 1, 64, 72>;
using LargeGridTile = GridTile<2, 4, 4, 64, 184>;

// Rows, or columns, of a window that `count` neighbouring ones of y read, [phase][of the phase].
struct GridAxis {
  int of_phase;  // places of a phase; the last has what it needs
  int places;
  GridAxis(int count, int taps, int stride) {
    const auto needed = [&](int phase) { return count - 1 + static_cast<int>(ceil_div(taps - phase, stride)); };
    const int last = std::min(taps, stride) - 1;
    of_phase = needed(0);
    places = last * of_phase + needed(last);
  }
};

// What follows from the layer's sizes, and where things lie in shared memory, in bytes: the weights first, then what is named
// here. Statistics take the operands' place when the products are done.
struct GridPlan {
  int tile_columns, tiles;     // of a picture: tiles of pixels side by side, all
  int pitch;                   // of statistics: the outputs, rounded up to whole tiles
  int side, slices;            // `slices` times `side` chunks are a pixel's
  int first_taps, other_taps;  // in the first row phase of the window, and in the others
  GridAxis rows, columns;      // of the window
  int places, slice_bytes;     // of the window: pixels, and from a slice to the next
  int window, partial, params, sources, counts, barriers, shared_bytes;
  Divisor by_columns, by_phase_rows, by_phase_columns;

  template <class Tile>
  GridPlan(const ChannelsLastSizes& s, Tile)
      : tile_columns(static_cast<int>(ceil_div(s.ow, Tile::kColumns))),
        tiles(tile_columns * static_cast<int>(ceil_div(s.oh, Tile::kRows))),
        pitch(static_cast<int>(ceil_div(s.o, Tile::kOutputs)) * Tile::kOutputs),
        side(s.c % kTileColumns == 0 ? kStepChunks : 1),
        slices(side == 1 ? static_cast<int>(ceil_div(s.c, 16)) * 2 : s.c / kTileColumns),
        first_taps(static_cast<int>(ceil_div(s.kh, s.stride_h)) * s.kh),
        other_taps(s.kh * s.kh - first_taps),
        rows(Tile::kRows, s.kh, s.stride_h),
        columns(Tile::kColumns, s.kh, s.stride_h),
        places(rows.places * columns.places),
        slice_bytes(static_cast<int>(ceil_div(places, 8)) * 8 * side * kChunkBytes),  // whole patterns of the swizzle
        by_columns(columns.places),
        by_phase_rows(rows.of_phase),
        by_phase_columns(columns.of_phase) {
    constexpr int kFloat = sizeof(float);
    window = s.kh * s.kh * slices * Tile::kOutputs * side * kChunkBytes;
    partial = 2 * kFloat * std::max(tiles, Tile::kWarps) * Tile::kOutputs;
    params = partial + kFloat * Tile::kThreads;
    barriers = std::max(window + slices * slice_bytes, params + 3 * kFloat * Tile::kOutputs);
    sources = barriers + 2 * static_cast<int>(sizeof(PhaseBarrier));
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

// Asks for the weights of these outputs, a share in each block that has them.
template <class Tile>
__device__ __forceinline__ void prefetch_weights(const bf16* w, const ChannelsLastSizes& s, int first_output) {
  constexpr int kLine = 64;  // numbers
  const int row = s.kh * s.kh * s.w_pitch, count = min(Tile::kOutputs, s.o - first_output) * row;
  for_each_index(ceil_div(count, kLine), [&](int64_t i) { prefetch_to_cache(w + first_output * row + i * kLine); });
}

// Starts the copies of the block's weights, [tap][slice][output][chunk]. Each warp starts some tiles, which arrive at the
// barrier of their part; the chunks of a layer of few channels are the threads'.
template <class Tile, int kSide>
__device__ __forceinline__ void copy_weights(const bf16* w, const TileMap& map, const ChannelsLastSizes& s,
                                             const GridPlan& plan, int first_output, PhaseBarrier* barriers,
                                             char* weights) {
  constexpr int kSliceBytes = Tile::kOutputs * kSide * kChunkBytes;
  const int thread = static_cast<int>(threadIdx.x), taps = s.kh * s.kh;
  if constexpr (kSide == kStepChunks) {
    if (thread % kWarp != 0) return;
    for (int tap = thread / kWarp; tap < taps; tap += Tile::kWarps) {
      PhaseBarrier* barrier = barriers + (tap / s.kh % s.stride_h > 0);
#pragma unroll 1
      for (int slice = 0; slice < plan.slices; ++slice) {
        arrive_expecting(barrier, kSliceBytes);
        copy_tile_async(weights + (tap * plan.slices + slice) * kSliceBytes, map, first_output,
                        tap * s.w_pitch + slice * kTileColumns, barrier);
      }
    }
  } else {
    const int output = thread % Tile::kOutputs;
    const bool is_there = first_output + output < s.o;
    if (is_there) w += (first_output + output) * taps * s.w_pitch;
    for (int chunk = 0; chunk < plan.slices; ++chunk) {
      const int there = is_there ? bytes_there(s, chunk) : 0;
      for (int tap = thread / Tile::kOutputs; tap < taps; tap += Tile::kThreads / Tile::kOutputs) {
        copy_async_part<kChunkBytes>(weights + ((tap * plan.slices + chunk) * Tile::kOutputs + output) * kChunkBytes,
                                     w + (there > 0 ? tap * s.w_pitch + chunk * 8 : 0), there);
      }
    }
  }
}

// Where the pixel of each place of the window begins in x, [row phase][row][column phase][column]; negative: zeros.
template <class Tile>
__device__ __forceinline__ void fill_sources(const ChannelsLastSizes& s, const GridPlan& plan,
                                             const GridPlace<Tile>& place, int* sources) {
  const int top = place.row * s.stride_h - s.padding_h, left = place.column * s.stride_h - s.padding_h;
#pragma unroll 1  // here and elsewhere: instructions come from memory, and are run once or twice
  for (int i = static_cast<int>(threadIdx.x); i < plan.places; i += Tile::kThreads) {
    int column = i, row = plan.by_columns.divide(column);
    const int row_phase = plan.by_phase_rows.divide(row), column_phase = plan.by_phase_columns.divide(column);
    const int h = padded_index(top + row * s.stride_h + row_phase, s.h, s.pad_mode);
    const int w = padded_index(left + column * s.stride_h + column_phase, s.w, s.pad_mode);
    sources[i] = h >= 0 && w >= 0 ? (h * s.w + w) * s.x_pitch : -1;
  }
}

// Starts the copies of the places `first` to `end` of the window, [slice][place][chunk]. Neighbouring threads write what lies
// side by side in shared memory: copies that scatter a pixel's chunks over it took four times as long.
template <class Tile, int kSide>
__device__ __forceinline__ void copy_window(const bf16* x, const ChannelsLastSizes& s, const GridPlan& plan,
                                            const int* sources, int first, int end, char* window) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int slice = 0; slice < plan.slices; ++slice) {
    const int side_chunk = thread % kSide, chunk = slice * kSide + side_chunk, bytes = bytes_there(s, chunk);
#pragma unroll 4
    for (int i = first + thread / kSide; i < end; i += Tile::kThreads / kSide) {
      const int there = sources[i] >= 0 ? bytes : 0;
      const int place = i * kSide + (side_chunk ^ (i & (kSide - 1)));  // as swizzled(), where there is a side of 8
      copy_async_part<kChunkBytes>(window + slice * plan.slice_bytes + place * kChunkBytes,
                                   x + (there > 0 ? sources[i] + chunk * 8 : 0), there);
    }
  }
}

// ---- products -------------------------------------------------------------------------------------------------------------

// The first product of a warpgroup; its products lie side by side.
template <class Tile>
__device__ __forceinline__ int first_product() {
  return Tile::kThreads == 128 ? 0 : warpgroup() * Tile::kProducts;
}
template <class Tile>
__device__ __forceinline__ int product_row() {
  return first_product<Tile>() / Tile::kProductColumns * kGridSide;
}
template <class Tile>
__device__ __forceinline__ int product_column() {
  return first_product<Tile>() % Tile::kProductColumns * kGridSide;
}

// Adds the products of a part of the taps, without waiting for them.
template <class Tile, int kSide>
__device__ __forceinline__ void multiply_part(int part, const char* weights, const char* window,
                                              const ChannelsLastSizes& s, const GridPlan& plan,
                                              float (&sums)[Tile::kProducts][Tile::kOutputs / 2]) {
  static_assert(Tile::kProductColumns % Tile::kProducts == 0);
  constexpr bool kSwizzled = kSide == kStepChunks;
  constexpr int kRowBytes = kSide * kChunkBytes, kStepSlices = kSwizzled ? 1 : 2, kParts = kSwizzled ? kStepParts : 1;
  constexpr int kWeightSlice = Tile::kOutputs * kSide;  // this and what follows: in chunks, as descriptors count
  const int slice_step = plan.slice_bytes / kChunkBytes;
  const uint64_t window_a = matrix_descriptor(window, kSwizzled ? kChunkBytes : plan.slice_bytes,
                                              plan.columns.places * kRowBytes, kSwizzled);
  const uint64_t weights_b = matrix_descriptor(weights, kSwizzled ? kChunkBytes : Tile::kOutputs * kChunkBytes,
                                               kGridSide * kRowBytes, kSwizzled);
  const int corner = product_row<Tile>() * plan.columns.places + product_column<Tile>();
  const int end = part == 0 ? 1 : min(s.kh, s.stride_h);
  warpgroup_arrive();
#pragma unroll 1
  for (int phase = part; phase < end; ++phase) {
    int row = corner + phase * plan.rows.of_phase * plan.columns.places;
#pragma unroll 1
    for (int tap_row = phase; tap_row < s.kh; tap_row += s.stride_h, row += plan.columns.places) {
#pragma unroll 1
      for (int tap_column = 0, place = row, column_phase = 0; tap_column < s.kh; ++tap_column) {
        int a = place * kSide, b = (tap_row * s.kh + tap_column) * plan.slices * kWeightSlice;
#pragma unroll 1
        for (int slice = 0; slice < plan.slices; slice += kStepSlices) {
#pragma unroll
          for (int i = 0; i < kParts; ++i) {
#pragma unroll
            for (int product = 0; product < Tile::kProducts; ++product) {
              warpgroup_multiply<Tile::kOutputs>(sums[product],
                                                 moved(window_a, a + 2 * i + product * kGridSide * kSide),
                                                 moved(weights_b, b + 2 * i), tap_row + tap_column + slice + i > 0);
            }
          }
          a += kStepSlices * slice_step;
          b += kStepSlices * kWeightSlice;
        }
        place += plan.columns.of_phase;
        if (++column_phase == s.stride_h) column_phase = 0, place -= s.stride_h * plan.columns.of_phase - 1;
      }
    }
  }
  warpgroup_commit();
}

// A lane has, of each product, one pixel of two rows (mma.cuh), and of that kValues outputs.
__device__ __forceinline__ int register_of(int value, int half) { return value / 2 * 4 + half * 2 + value % 2; }
__device__ __forceinline__ int output_of(int value) {
  return value / 2 * 8 + static_cast<int>(threadIdx.x) % 4 * 2 + value % 2;
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
    moments[output_of(first + lane / 4)] = make_float2(mean[0], squares[0]);
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

// Four neighbouring lanes swap word j of lane i for word i of lane j.
__device__ __forceinline__ void transpose_four(uint32_t (&words)[4]) {
#pragma unroll
  for (int bit = 1; bit <= 2; ++bit) {
    const bool upper = threadIdx.x & bit;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const uint32_t received = __shfl_xor_sync(kAllLanes, upper ? words[i] : words[i | bit], bit);
      words[i] = upper ? received : words[i];
      words[i | bit] = upper ? words[i | bit] : received;
    }
  }
}

__device__ unsigned arrived_blocks;  // of grid_barrier

// Blocks (pictures x tiles of pixels, tiles of outputs). statistics [pictures][tiles][pitch]. `map`: w, for whole slices.
template <class Tile, int kSide>
__global__ void __maxnreg__(Tile::kRegisters)
    conv_grid_kernel(const bf16* x, const bf16* w, const __grid_constant__ TileMap map, ChannelsLastSizes s,
                     GridPlan plan, NormArguments norm, float2* statistics, bf16* y) {
  char* shared = aligned_shared<char>();
  auto* moments = reinterpret_cast<float2*>(shared);
  auto *partial = reinterpret_cast<float*>(shared + plan.partial),
       *params = reinterpret_cast<float*>(shared + plan.params);
  auto* barriers = reinterpret_cast<PhaseBarrier*>(shared + plan.barriers);
  auto* sources = reinterpret_cast<int*>(shared + plan.sources);
  auto* tile_counts = reinterpret_cast<float*>(shared + plan.counts);
  float* warp_counts = tile_counts + plan.tiles;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp;
  const GridPlace<Tile> place(plan);
  const int own_output = min(place.output + thread % Tile::kOutputs, s.o - 1);

  prefetch_weights<Tile>(w, s, place.output);
  if (thread < Tile::kOutputs) {
    prefetch_to_cache(norm.gamma + own_output);
    prefetch_to_cache(norm.beta + own_output);
  }
  const int parts = plan.other_taps > 0 ? 2 : 1;
  if (kSide > 1 && thread == 0) {
    prefetch_map(map);
    begin_phases(barriers, plan.first_taps * plan.slices);
    if (parts > 1) begin_phases(barriers + 1, plan.other_taps * plan.slices);
    fence_phase_barriers();
  }
  fill_sources(s, plan, place, sources);
#pragma unroll 1
  for (int i = thread; i < plan.tiles; i += Tile::kThreads) {
    const int row = i / plan.tile_columns * Tile::kRows, column = i % plan.tile_columns * Tile::kColumns;
    tile_counts[i] = static_cast<float>(min(Tile::kRows, s.oh - row) * min(Tile::kColumns, s.ow - column));
  }
  __syncthreads();
  wait_for_previous_kernel();  // which may have written the weights
  copy_weights<Tile, kSide>(w, map, s, plan, place.output, barriers, shared);
  x += int64_t{place.picture} * s.h * s.w * s.x_pitch;
  const int first_places = plan.rows.of_phase * plan.columns.places;
#pragma unroll 1
  for (int part = 0; part < 2; ++part) {
    copy_window<Tile, kSide>(x, s, plan, sources, part == 0 ? 0 : first_places,
                             part == 0 ? first_places : plan.places, shared + plan.window);
    copy_commit();
  }
  const float gamma = norm.gamma[own_output], beta = norm.beta[own_output];
  let_next_kernel_start();  // behind this one's copies: it asks for its weights
  float sums[Tile::kProducts][Tile::kOutputs / 2];
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    if (part == parts) break;
    part == 0 ? copy_wait<1>() : copy_wait<0>();
    fence_shared_for_async();
    __syncthreads();
    if constexpr (kSide > 1) wait_for_phase(barriers + part, 0);
    multiply_part<Tile, kSide>(part, shared, shared + plan.window, s, plan, sums);
  }
#pragma unroll
  for (int i = 0; i < Tile::kProducts; ++i) warpgroup_wait<0>(sums[i]);
  __syncthreads();  // nobody reads the operands any more

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
    params[thread] = of_plane.x;
    params[Tile::kOutputs + thread] =
        gamma * rsqrtf(__fdividef(of_plane.y, static_cast<float>(s.pixels())) + norm.eps);
    params[2 * Tile::kOutputs + thread] = beta;
  }
  __syncthreads();

  y += int64_t{place.picture} * s.pixels() * s.y_pitch;
  // Four lanes have pairs of 32 outputs of a pixel; each gets 8 neighbouring ones, which it stores.
#pragma unroll
  for (int first = 0; first < Tile::kValues; first += 8) {
    const int o = place.output + first * 4 + thread % 4 * 8;
    NormOfFour apply[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto four = [&](int param) {
        const auto pair = [&](int v) {
          return *reinterpret_cast<const float2*>(params + param * Tile::kOutputs + output_of(first + 4 * i + v));
        };
        return float4{pair(0).x, pair(0).y, pair(2).x, pair(2).y};
      };
      apply[i] = {four(0), four(1), four(2), norm.slope};
    }
    for_each_pixel<Tile>(place, [&](int i, int half, int row, int column) {
      uint32_t words[4];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const auto at = [&](int v) { return sums[i][register_of(first + 4 * j + v, half)]; };
        const float4 four = apply[j](float4{at(0), at(1), at(2), at(3)});
        words[2 * j] = pack_bf16(four.x, four.y), words[2 * j + 1] = pack_bf16(four.z, four.w);
      }
      transpose_four(words);
      if (row < s.oh && column < s.ow && o < s.o) {
        *reinterpret_cast<uint4*>(y + (row * s.ow + column) * s.y_pitch + o) =
            make_uint4(words[0], words[1], words[2], words[3]);
      }
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
    const auto run = [&]<int kSide>(std::integral_constant<int, kSide>, const TileMap& map) {
      launch(conv_grid_kernel<Tile, kSide>,
             Launch(grid_blocks<Tile>(s, plan), Tile::kThreads, static_cast<size_t>(plan.shared_bytes))
                 .together()
                 .overlapping(),
             x.data<bf16>(), w.data<bf16>(), map, s, plan, NormArguments(gamma, beta, norm_params),
             static_cast<float2*>(statistics.raw()), y.data<bf16>());
    };
    if (plan.side == 1) return run(std::integral_constant<int, 1>(), TileMap());
    const int64_t row = int64_t{s.kh} * s.kh * s.w_pitch;
    run(std::integral_constant<int, kStepChunks>(), tile_map(w.data<bf16>(), s.o, row, row * 2, Tile::kOutputs));
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
