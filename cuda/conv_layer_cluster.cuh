// A layer of few pixels in one kernel, for Hopper (compute capability 9.0): the eight blocks of a cluster split K between them,
// add up their sums through each other's shared memory and norm them there. Only x, w and y touch memory.
//
// Why: at batch 1 the 16 x 16 grid's layers (1024 to 1024 channels) are bound by reading 19 MB of weights once. Splitting K over
// a grid and norming in a second kernel writes and reads 8 MB of sums and starts twice. Here 16 clusters, one for 64 outputs
// each, are 128 blocks: one on each multiprocessor, with an eighth of the channels and all pixels, 19 million products.
//
// The product is D[output][pixel] = W[output][k] X[pixel][k]. W streams through a ring of stages in wgmma's 128-byte swizzle. X
// is the block's window of the padded picture, kept without swizzle: chunk by chunk of 8 channels, pixel by pixel. Eight pixels
// of a row are then one core matrix wherever it begins, and another tap is another start address. A product of 128 pixels takes
// 8 columns of 16 rows of the picture, so that its core matrices lie one row apart.
// Next: hopper.cuh for wgmma and clusters; conv_layer_split_k.cu, which launches.
#pragma once

#include "cuda/conv_layer_norm.cuh"
#include "cuda/conv_layer_tile.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {

constexpr int kClusterBlocks = 8;  // and pieces of K
constexpr int kClusterOutputs = 64, kClusterFinished = kClusterOutputs / kClusterBlocks;  // of a cluster; of each block's norm
constexpr int kClusterThreads = 256;                                                      // two warpgroups
constexpr int kClusterRows = 16, kClusterColumns = 8, kClusterProduct = kClusterRows * kClusterColumns;  // pixels
using ClusterTile = ConvTile<256, kClusterOutputs, 2>;                                    // for copy_weights: 256 threads
constexpr int kClusterStageBytes = kClusterOutputs * kStepBytes;
constexpr int kClusterSliceChunks = kStepChunks;  // a slice: 64 channels

// Sizes that follow from the layer's. `columns`: products side by side, of 8 columns each.
struct ClusterWindow {
  int width;         // pixels of a row of the window
  int chunk_bytes;   // from one chunk of channels to the next
  int slices, taps;  // of a block's channels; of the kernel
  ClusterWindow(const ConvLayerShape& s)
      : width(s.out_width + s.side - 1), slices(s.channels / kClusterBlocks / 64), taps(s.side * s.side) {
    const int bytes = (kClusterRows + s.side - 1) * width * kChunkBytes;
    chunk_bytes = (bytes + 127) / 128 * 128 + kChunkBytes;  // neighbouring chunks of a pixel fall on different banks
  }
  __host__ __device__ __forceinline__ int bytes() const { return slices * kClusterSliceChunks * chunk_bytes; }
};

// kColumns: products of 8 columns for each warpgroup. As many stages as shared memory has room for beside the window.
template <int kColumns>
constexpr int kClusterStages = kColumns == 1 ? 12 : 6;
template <int kColumns>
constexpr int kClusterPixels = 2 * kColumns * kClusterProduct;
template <int kColumns>
constexpr int kClusterPitch = kClusterPixels<kColumns> + 8;  // of sums: a fragment's 8-byte stores meet no bank twice

template <int kColumns>
size_t cluster_shared_bytes(const ConvLayerShape& s) {
  constexpr size_t kBehind = 256;  // columns that are not there are read as well, behind the last row
  const size_t operands = size_t{kClusterStages<kColumns>} * kClusterStageBytes + ClusterWindow(s).bytes() + kBehind;
  const size_t sums = size_t{kClusterOutputs} * kClusterPitch<kColumns> * sizeof(float);
  return std::max(operands, sums + kClusterFinished * kClusterPixels<kColumns> * sizeof(bf16));
}

// The block's weights are on their way to the second-level cache while the previous kernel still runs.
__device__ __forceinline__ void prefetch_weights(const char* w, const ConvLayerShape& s, const ClusterWindow& window,
                                                 int first_output, int first_chunk) {
  const int lines = kClusterOutputs * window.taps * window.slices;  // of 128 bytes
  for (int i = static_cast<int>(threadIdx.x); i < lines; i += kClusterThreads) {
    const int slice = i % window.slices, tap = i / window.slices % window.taps, row = i / window.slices / window.taps;
    const int64_t chunk = (int64_t{first_output + row} * window.taps + tap) * (s.channels / 8) + first_chunk;
    prefetch_to_cache(w + (chunk + slice * kClusterSliceChunks) * kChunkBytes);
  }
}

// Starts the copies of one slice of the window: [chunk][pixel], 16 bytes each.
__device__ __forceinline__ void copy_window(const char* x, const ConvLayerShape& s, const ClusterWindow& window,
                                            int first_chunk, char* to) {
  const int chunk = static_cast<int>(threadIdx.x) % kClusterSliceChunks;
  const int pixels = (s.out_height + s.side - 1) * window.width;
  for (int i = static_cast<int>(threadIdx.x) / kClusterSliceChunks; i < pixels; i += kClusterThreads / kClusterSliceChunks) {
    const int h = padded_source(i / window.width - s.pad, s.height, s.mode);
    const int column = padded_source(i % window.width - s.pad, s.width, s.mode);
    const bool inside = h >= 0 && column >= 0;
    const int64_t from = (int64_t{h} * s.width + column) * (s.channels / 8) + first_chunk + chunk;
    copy_async<kChunkBytes>(to + chunk * window.chunk_bytes + i * kChunkBytes, inside ? x + from * kChunkBytes : x, inside);
  }
}

// Adds over the 64 threads, two warps, that share a pair of outputs.
__device__ __forceinline__ float2 sum_of_pair(float2 v) {
  ASAP_SHARED(float2, partial, [kClusterThreads / kWarp]);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  v = {warp_reduce(v.x), warp_reduce(v.y)};
  __syncthreads();  // an earlier call's partial sums may still be read
  if (threadIdx.x % kWarp == 0) partial[warp] = v;
  __syncthreads();
  const float2 a = partial[warp / 2 * 2], b = partial[warp / 2 * 2 + 1];
  return {a.x + b.x, a.y + b.y};
}

// This block's 8 outputs of all pixels: the pieces' sums added in the order of the blocks, normed, activated. `sums`: shared, in
// every block of the cluster [output][product][row][column]; `out`: shared, room for the result.
template <int kColumns>
__device__ __forceinline__ void finish_cluster(float* sums, const ConvLayerShape& s, int first_output,
                                               const NormArguments& norm, uint32_t* out, bf16* y) {
  constexpr int kPixels = kClusterPixels<kColumns>, kQuarter = kClusterThreads / 4, kFours = kPixels / 4 / kQuarter;
  const int thread = static_cast<int>(threadIdx.x) % kQuarter;
  const int pair = static_cast<int>(threadIdx.x) / kQuarter, output = cluster_rank() * kClusterFinished + 2 * pair;
  float4 h[2][kFours] = {};
#pragma unroll
  for (int block = 0; block < kClusterBlocks; ++block) {
    const float* from = of_block(sums, block) + output * kClusterPitch<kColumns> + 4 * thread;
#pragma unroll
    for (int o = 0; o < 2; ++o) {
#pragma unroll
      for (int i = 0; i < kFours; ++i) {
        h[o][i] = add(h[o][i], *reinterpret_cast<const float4*>(from + o * kClusterPitch<kColumns> + 4 * kQuarter * i));
      }
    }
  }
  cluster_arrive();  // done with the others' memory
  // The i-th four of this thread: neighbouring columns of one row.
  const auto place = [&](int i) { return 4 * (thread + kQuarter * i); };
  const auto row = [&](int i) { return place(i) / kClusterColumns % kClusterRows; };
  const auto column = [&](int i) { return place(i) / kClusterProduct * kClusterColumns + place(i) % kClusterColumns; };
  const auto is_there = [&](int i) { return row(i) < s.out_height && column(i) < s.out_width; };
  const auto sum_of_four = [](float4 v) { return v.x + v.y + v.z + v.w; };
  const float share = 1.0f / static_cast<float>(s.pixels());
  float2 v{0, 0};
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (is_there(i)) v = {v.x + sum_of_four(h[0][i]), v.y + sum_of_four(h[1][i])};
  }
  v = sum_of_pair(v);
  const float mean[2] = {v.x * share, v.y * share};
  v = {0, 0};
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (!is_there(i)) continue;
    const auto squares = [&](int o) { return sum_of_four(add_squares({}, h[o][i], {mean[o], mean[o], mean[o], mean[o]})); };
    v = {v.x + squares(0), v.y + squares(1)};
  }
  v = sum_of_pair(v);
  const float2 scale = *reinterpret_cast<const float2*>(norm.scale + first_output + output);
  const float2 shift = *reinterpret_cast<const float2*>(norm.shift + first_output + output);
  const float factor[2] = {scale.x / sqrtf(v.x * share + norm.eps), scale.y / sqrtf(v.y * share + norm.eps)};
  // Pixel p is at place (p % 4, p / 4) of `out`, so that neighbouring threads write neighbouring places.
  const auto out_place = [&](int pixel) { return pixel % 4 * (kPixels / 4) + pixel / 4; };
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (!is_there(i)) continue;
    const int pixel = row(i) * s.out_width + column(i);
    const float low[4] = {h[0][i].x, h[0][i].y, h[0][i].z, h[0][i].w};
    const float high[4] = {h[1][i].x, h[1][i].y, h[1][i].z, h[1][i].w};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      out[out_place(pixel + j) * (kClusterFinished / 2) + pair] =
          pack_bf16(activate((low[j] - mean[0]) * factor[0] + shift.x, norm.slope),
                    activate((high[j] - mean[1]) * factor[1] + shift.y, norm.slope));
    }
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < s.pixels(); i += kClusterThreads) {
    *reinterpret_cast<uint4*>(y + int64_t{i} * s.outputs + first_output + cluster_rank() * kClusterFinished) =
        *reinterpret_cast<const uint4*>(out + out_place(i) * (kClusterFinished / 2));
  }
  cluster_wait();  // the others may still read this block's memory
}

template <int kCount>
__device__ __forceinline__ void wait_for_sums(float (&sums)[1][kCount]) {
  warpgroup_wait<0>(sums[0]);
}
template <int kCount>
__device__ __forceinline__ void wait_for_sums(float (&sums)[2][kCount]) {
  warpgroup_wait<0>(sums[0], sums[1]);
}

// Blocks (pieces of K, tiles of outputs, pictures), a cluster along x.
template <int kColumns>
__global__ void __launch_bounds__(kClusterThreads, 1)
    conv_cluster_kernel(const bf16* x, const bf16* w, ConvLayerShape s, ClusterWindow window, NormArguments norm, bf16* y) {
  constexpr int kStages = kClusterStages<kColumns>, kAhead = kStages - 2;
  char* stages = aligned_shared<char>();
  char* pixels = stages + kStages * kClusterStageBytes;
  const int first_output = static_cast<int>(blockIdx.y) * kClusterOutputs, picture = static_cast<int>(blockIdx.z);
  const int first_chunk = cluster_rank() * window.slices * kClusterSliceChunks;
  const char* from = reinterpret_cast<const char*>(x + int64_t{picture} * s.height * s.width * s.channels);
  const int steps = window.slices * window.taps;
  const auto load_weights = [&](int step) {
    const int chunk = step % window.taps * (s.channels / 8) + first_chunk + step / window.taps * kClusterSliceChunks;
    copy_weights<ClusterTile>(reinterpret_cast<const char*>(w), first_output, s.outputs, window.taps * (s.channels / 8), chunk,
                              stages + step % kStages * kClusterStageBytes);
  };
  let_next_kernel_start();
  prefetch_weights(reinterpret_cast<const char*>(w), s, window, first_output, first_chunk);
  wait_for_previous_kernel();
  // Groups of copies: kAhead steps of weights, both slices, then a step of weights for each step that is multiplied.
  for (int step = 0; step < kAhead; ++step) {
    if (step < steps) load_weights(step);
    copy_commit();
  }
  for (int slice = 0; slice < 2; ++slice) {
    const int chunk = slice * kClusterSliceChunks;
    if (slice < window.slices) copy_window(from, s, window, first_chunk + chunk, pixels + chunk * window.chunk_bytes);
    copy_commit();
  }
  const int group = static_cast<int>(threadIdx.x) / 128;
  float sums[kColumns][kClusterProduct / 2];
  for (int step = 0; step < steps; ++step) {
    step == 0 ? copy_wait<1>() : copy_wait<kAhead - 1>();
    fence_shared_for_async();
    __syncthreads();  // this step has arrived for all; both warpgroups are done with the step before the last
    const char* weights = stages + step % kStages * kClusterStageBytes;
    const int tap = step % window.taps;
    const char* corner = pixels + step / window.taps * kClusterSliceChunks * window.chunk_bytes +
                         (tap / s.side * window.width + tap % s.side) * kChunkBytes;
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < kStepParts; ++part) {
      const uint64_t a = matrix_descriptor(weights + part * kPartBytes, kChunkBytes, 8 * kStepBytes, true);
#pragma unroll
      for (int i = 0; i < kColumns; ++i) {
        const char* start = corner + 2 * part * window.chunk_bytes + (2 * i + group) * kClusterColumns * kChunkBytes;
        const uint64_t b = matrix_descriptor(start, window.chunk_bytes, window.width * kChunkBytes, false);
        warpgroup_multiply<kClusterProduct>(sums[i], a, b, step > 0 || part > 0);
      }
    }
    warpgroup_commit();
    if (step + kAhead < steps) load_weights(step + kAhead);
    copy_commit();
    warpgroup_wait<1>();
  }
  wait_for_sums(sums);
  __syncthreads();  // nobody reads the operands any more: their place takes the sums
  auto* shared_sums = reinterpret_cast<float*>(stages);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, row = static_cast<int>(threadIdx.x) % 128 / kWarp * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
#pragma unroll
    for (int j = 0; j < kClusterProduct / 8; ++j) {
      float* to = shared_sums + row * kClusterPitch<kColumns> + (2 * i + group) * kClusterProduct + 8 * j + lane % 4 * 2;
      *reinterpret_cast<float2*>(to) = make_float2(sums[i][4 * j], sums[i][4 * j + 1]);
      *reinterpret_cast<float2*>(to + 8 * kClusterPitch<kColumns>) = make_float2(sums[i][4 * j + 2], sums[i][4 * j + 3]);
    }
  }
  cluster_barrier();
  auto* out = reinterpret_cast<uint32_t*>(shared_sums + kClusterOutputs * kClusterPitch<kColumns>);
  finish_cluster<kColumns>(shared_sums, s, first_output, norm, out, y + int64_t{picture} * s.pixels() * s.outputs);
}

}  // namespace asap::cuda
