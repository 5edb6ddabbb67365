// A block's tile of the convolution of a layer as a matrix product, y[pixel][output] = sum over k of pixels[pixel][k]
// weights[output][k], k = (tap, channel): its warps, one step's products, and where the sums go. Channels last, both operands
// run along k, so that one 16-byte cp.async moves 8 bf16 or 4 f32 of either.
// Used by conv2d_instance_norm*.cu too. Next: conv2d_channels_last_split_k.cuh, which gathers the pixels for every tap.
#pragma once

#include "cuda/conv2d.h"
#include "cuda/epilogue.cuh"
#include "cuda/mma.cuh"
#include "tensor/definitions/padded_index.h"
#include "tensor/precision.h"

namespace asap::cuda {

// With square kernels, of which kh, stride_h and padding_h tell all. Pitches are elements from one pixel to the next; what lies behind
// its channels is nobody's. K runs over w's pitch, with zeros behind the channels.
struct ChannelsLastSizes : Conv2dSizes {
  int x_pitch, w_pitch, y_pitch;
  __host__ __device__ __forceinline__ int pixels() const { return oh * ow; }  // of one picture of y
};
inline ChannelsLastSizes channels_last_sizes(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const auto pitch = [](const Tensor& t) { return static_cast<int>(pixel_stride(t)); };
  return {conv2d_sizes(x, w, p, y), pitch(x), pitch(w), pitch(y)};
}

// Square kernels on channels-last tensors. Copies of 16 bytes want pixels that start at whole ones, and stores of four or eight
// outputs room behind the last.
inline bool takes_pixels(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const auto has_pixels = [](const Tensor& t) {
    return t.is_channels_last() && pixel_stride(t) % kPixelAlignment == 0 &&
           reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0;
  };
  return p.groups == 1 && p.dilation == Size2(1) && p.stride.h == p.stride.w && p.padding.h == p.padding.w &&
         w.size(2) == w.size(3) && has_pixels(x) && has_pixels(w) && has_pixels(y);
}

// Four neighbouring channels of a pixel, of which the last may be behind y's.
__device__ __forceinline__ void store_four(float4 v, float* y) { *reinterpret_cast<float4*>(y) = v; }
__device__ __forceinline__ void store_four(float4 v, bf16* y) {
  *reinterpret_cast<uint2*>(y) = make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
}

__device__ __forceinline__ float activate(float v, float slope) { return v > 0 ? v : slope * v; }

// conv2d_instance_norm_cluster.cu, _grid.cu, conv2d_pixels_wgmma.cu; called by register_conv2d_channels_last
void add_conv2d_instance_norm_cluster();
void add_conv2d_instance_norm_grid();
void add_conv2d_pixels_wgmma();

// A step of K: 128 bytes of every row (64 bf16, 32 f32) = 8 chunks of 16 bytes. Chunk c of row r lies at place c ^ (r % 8),
// so that the 8 rows of one ldmatrix phase, and the chunks of one copy, fall on different banks.
constexpr int kStepBytes = 128, kChunkBytes = 16, kStepChunks = kStepBytes / kChunkBytes;

__device__ __forceinline__ int swizzled(int row, int chunk) {
  return row * kStepBytes + (chunk ^ (row & (kStepChunks - 1))) * kChunkBytes;
}

// Every warp has `warp_pixels`, and the outputs are dealt to `columns` warps.
template <int pixels, int outputs, int columns, int warp_pixels = 64>
struct ConvTile {
  static constexpr int kPixels = pixels, kOutputs = outputs, kWarpColumns = columns;
  static constexpr int kWarpPixels = warp_pixels, kWarpOutputs = outputs / columns;
  static constexpr int kRows = kWarpPixels / 16, kFragments = kWarpOutputs / 8;  // 16 x 8 fragments of a warp's sums
  static constexpr int kThreads = pixels / kWarpPixels * columns * kWarp;
  static constexpr int kSumsPitch = outputs + 8;  // in shared memory: the fragments' 8-byte stores meet no bank twice
  static constexpr int kSums = pixels * kSumsPitch;
  static constexpr size_t kSumsBytes = size_t{kSums + kThreads} * sizeof(float);  // with write_statistics' partial sums
};

// How the work is laid out over blocks: (pixel tiles of all pictures, output tiles, splits).
struct SplitKPlan {
  int pixel_tiles;    // of a picture: a tile does not reach into the next one
  int steps, splits;  // of K; split s takes steps [s * steps / splits, (s + 1) * steps / splits)
  int pitch;          // of scratch rows: the outputs, rounded up to whole float4
};

// What this block and this warp of it compute.
template <class Tile>
struct TilePlace {
  int picture, first_pixel, first_output, split, begin, end;  // begin, end: steps
  int warp_pixel, warp_output;                                // the warp's first of the tile
  __device__ __forceinline__ explicit TilePlace(const SplitKPlan& plan)
      : picture(static_cast<int>(blockIdx.x) / plan.pixel_tiles),
        first_pixel(static_cast<int>(blockIdx.x) % plan.pixel_tiles * Tile::kPixels),
        first_output(static_cast<int>(blockIdx.y) * Tile::kOutputs),
        split(static_cast<int>(blockIdx.z)),
        begin(split * plan.steps / plan.splits),
        end((split + 1) * plan.steps / plan.splits) {
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    warp_pixel = warp / Tile::kWarpColumns * Tile::kWarpPixels;
    warp_output = warp % Tile::kWarpColumns * Tile::kWarpOutputs;
  }
};

// ---- one step's products ----------------------------------------------------------------------------------------------
// sums[i][j] is the 16 pixels x 8 outputs fragment i, j of the warp, laid out as mma's D (mma.cuh). `pixels` and `weights` are
// the warp's first rows of the stage. For tensor cores a step has four parts of 32 bytes, each one mma of either type: 16 bf16
// or 8 tf32. The places of part p differ from those of part 0 in two bits: offset ^ p * 32.

constexpr int kStepParts = kStepChunks / 2, kPartBytes = 2 * kChunkBytes;

// Where this lane's row and chunk of a fragment of pixels lie, for ldmatrix: rows 0-7 and 8-15 of the first chunk, then of
// the second.
__device__ __forceinline__ int pixel_offset() {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  return swizzled(lane % 16, lane / 16);
}
// The same for two fragments of outputs: first and second chunk of rows 0-7, then of rows 8-15.
__device__ __forceinline__ int weight_offset() {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  return swizzled(lane / 16 * 8 + lane % 8, lane / 8 % 2);
}

// Shared memory is what limits the products: a warp of 64 x 64 reads 4 KiB for 32 of them, one of 64 x 32 3 KiB for 16.
template <int kRows, int kFragments>
__device__ __forceinline__ void load_fragments(const char* pixels, const char* weights, int part,
                                               uint32_t (&a)[kRows][4], uint32_t (&b)[kFragments][2]) {
  const char* pixel = pixels + (pixel_offset() ^ part * kPartBytes);
  const char* weight = weights + (weight_offset() ^ part * kPartBytes);
#pragma unroll
  for (int i = 0; i < kRows; ++i) load_matrices(a[i], pixel + 16 * i * kStepBytes);
#pragma unroll
  for (int j = 0; j < kFragments; j += 2) {
    uint32_t pair[4];
    load_matrices(pair, weight + 8 * j * kStepBytes);
    b[j][0] = pair[0], b[j][1] = pair[1], b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
  }
}

template <int kWords>
__device__ __forceinline__ void round_to_tf32(uint32_t (&words)[kWords]) {
#pragma unroll
  for (uint32_t& word : words) word = to_tf32(__uint_as_float(word));
}

template <class T, int kRows, int kFragments>
__device__ __forceinline__ void multiply_part(uint32_t (&a)[kRows][4], uint32_t (&b)[kFragments][2],
                                              float (&sums)[kRows][kFragments][4]) {
  if constexpr (std::is_same_v<T, float>) {
#pragma unroll
    for (int j = 0; j < kFragments; ++j) round_to_tf32(b[j]);
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if constexpr (std::is_same_v<T, float>) round_to_tf32(a[i]);
#pragma unroll
    for (int j = 0; j < kFragments; ++j) {
      if constexpr (std::is_same_v<T, bf16>) {
        mma_bf16(sums[i][j], a[i], b[j]);
      } else {
        mma_tf32(sums[i][j], a[i], b[j]);
      }
    }
  }
}

// The next part's fragments are read while the tensor cores work on this one's.
template <class T, int kRows, int kFragments>
__device__ __forceinline__ void multiply_step_mma(const char* pixels, const char* weights,
                                                  float (&sums)[kRows][kFragments][4]) {
  uint32_t a[2][kRows][4], b[2][kFragments][2];
  load_fragments(pixels, weights, 0, a[0], b[0]);
#pragma unroll
  for (int part = 0; part < kStepParts; ++part) {
    const int now = part % 2;
    if (part + 1 < kStepParts) load_fragments(pixels, weights, part + 1, a[1 - now], b[1 - now]);
    multiply_part<T>(a[now], b[now], sums);
  }
}

// The same fragments by float32 FMA: lane (g, t) has pixels g + 8 i and outputs 8 j + 2 t, + 1, and reads four k at once.
template <int kRows, int kFragments>
__device__ __forceinline__ void multiply_step_fma(const char* pixels, const char* weights,
                                                  float (&sums)[kRows][kFragments][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll 1
  for (int chunk = 0; chunk < kStepChunks; ++chunk) {
    float4 b[kFragments][2];
#pragma unroll
    for (int j = 0; j < kFragments; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        b[j][e] = *reinterpret_cast<const float4*>(weights + swizzled(8 * j + 2 * t + e, chunk));
      }
    }
#pragma unroll
    for (int i = 0; i < 2 * kRows; ++i) {
      const float4 a = *reinterpret_cast<const float4*>(pixels + swizzled(8 * i + g, chunk));
#pragma unroll
      for (int j = 0; j < kFragments; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& sum = sums[i / 2][j][i % 2 * 2 + e];
          sum = fmaf(a.w, b[j][e].w, fmaf(a.z, b[j][e].z, fmaf(a.y, b[j][e].y, fmaf(a.x, b[j][e].x, sum))));
        }
      }
    }
  }
}

// ---- results ----------------------------------------------------------------------------------------------------------

// act((h - mean) * factor + shift) of four neighbouring channels. Those that are not there give numbers that nobody reads.
struct NormOfFour {
  float4 mean, factor, shift;
  float slope;
  __device__ __forceinline__ float4 operator()(float4 h) const {
    return {activate((h.x - mean.x) * factor.x + shift.x, slope), activate((h.y - mean.y) * factor.y + shift.y, slope),
            activate((h.z - mean.z) * factor.z + shift.z, slope), activate((h.w - mean.w) * factor.w + shift.w, slope)};
  }
};

// Where a block's sums go.
template <class T>
struct SplitKResult {
  float* sums;  // [splits][pictures][pixels][pitch], where a norm follows; else null, and y = act(sum + bias) at once
  float2*
      statistics;  // [pictures][pixel tiles][pitch]: mean, sum of squared deviations, for planes too large for one block's
                   // norm; else null
  Epilogue<float> epilogue;
  T* y;
};

// The sum over the threads with the same threadIdx.x % kColumns, in a fixed order; each gets it. partial: kThreads, shared.
template <int kColumns, int kThreads>
__device__ __forceinline__ float total_of_column(float value, float* partial) {
  const int thread = static_cast<int>(threadIdx.x), column = thread % kColumns;
  __syncthreads();  // an earlier total may still be read
  partial[thread] = value;
  __syncthreads();
  float sum = partial[column];
#pragma unroll
  for (int part = 1; part < kThreads / kColumns; ++part) sum += partial[column + part * kColumns];
  return sum;
}

// A column is shared by as many threads as there are for it: its mean first, then deviations from it.
template <class Tile>
__device__ __forceinline__ void write_statistics(float* tile, int rows, int first_output, int pitch, float2* to) {
  constexpr int kParts = Tile::kThreads / Tile::kOutputs, kPartRows = Tile::kPixels / kParts;
  float* partial = tile + Tile::kSums;
  const int thread = static_cast<int>(threadIdx.x), column = thread % Tile::kOutputs;
  const int first = thread / Tile::kOutputs * kPartRows, count = min(max(rows - first, 0), kPartRows);
  const auto total = [&](float value) { return total_of_column<Tile::kOutputs, Tile::kThreads>(value, partial); };
  const float* from = tile + first * Tile::kSumsPitch + column;
  float sum = 0, squares = 0;
#pragma unroll 8
  for (int i = 0; i < count; ++i) sum += from[i * Tile::kSumsPitch];
  const float mean = total(sum) / static_cast<float>(rows);
#pragma unroll 8
  for (int i = 0; i < count; ++i) {
    const float deviation = from[i * Tile::kSumsPitch] - mean;
    squares = fmaf(deviation, deviation, squares);
  }
  squares = total(squares);
  if (thread < Tile::kOutputs && first_output + column < pitch) to[first_output + column] = make_float2(mean, squares);
}

// Everything passes through shared memory, so that neighbouring threads write neighbouring outputs.
template <class Tile, class T>
__device__ __forceinline__ void write_results(const float (&sums)[Tile::kRows][Tile::kFragments][4],
                                              const TilePlace<Tile>& place, const ChannelsLastSizes& s,
                                              const SplitKPlan& plan, const SplitKResult<T>& result) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float* tile = dynamic_shared<float>();
  __syncthreads();  // the last step is still being read
#pragma unroll
  for (int i = 0; i < Tile::kRows; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kFragments; ++j) {
      const int row = place.warp_pixel + 16 * i + lane / 4, column = place.warp_output + 8 * j + lane % 4 * 2;
      float* to = tile + row * Tile::kSumsPitch + column;
      *reinterpret_cast<float2*>(to) = make_float2(sums[i][j][0], sums[i][j][1]);
      *reinterpret_cast<float2*>(to + 8 * Tile::kSumsPitch) = make_float2(sums[i][j][2], sums[i][j][3]);
    }
  }
  __syncthreads();
  const int rows = min(Tile::kPixels, s.pixels() - place.first_pixel), first_output = place.first_output;
  const int64_t first_row = (int64_t{place.split} * s.n + place.picture) * s.pixels() + place.first_pixel;
  // f(row, four neighbouring outputs) for every row that this thread has; neighbours to neighbouring threads.
  constexpr int kFours = Tile::kOutputs / 4;
  const int column = static_cast<int>(threadIdx.x) % kFours * 4, o = first_output + column;
  const auto for_each_four = [&](auto&& f) {
#pragma unroll 4
    for (int row = static_cast<int>(threadIdx.x) / kFours; row < rows && o < plan.pitch;
         row += Tile::kThreads / kFours) {
      f(row, *reinterpret_cast<const float4*>(tile + row * Tile::kSumsPitch + column));
    }
  };
  if (result.sums) {
    float* to = result.sums + first_row * plan.pitch + o;
    for_each_four([&](int row, float4 v) { store_four(v, to + row * plan.pitch); });
  } else {
    const auto bias = [&](int i) { return result.epilogue.bias ? result.epilogue.bias[min(o + i, s.o - 1)] : 0.0f; };
    const NormOfFour apply{{}, {1, 1, 1, 1}, {bias(0), bias(1), bias(2), bias(3)}, result.epilogue.slope};
    T* to = result.y + first_row * s.y_pitch + o;
    for_each_four([&](int row, float4 v) { store_four(apply(v), to + row * s.y_pitch); });
  }
  if (result.statistics) {
    float2* to = result.statistics + int64_t{blockIdx.x} * plan.pitch;
    write_statistics<Tile>(tile, rows, first_output, plan.pitch, to);
  }
}

}  // namespace asap::cuda
