// What follows the split convolution of conv2d_channels_last_split_k.cuh: the splits' sums are added in order, then instance norm,
// activation and conversion to y. Bound by memory, which mostly is the second-level cache: a layer of the
// 16 x 16 grid leaves 8 MiB of sums behind. Next: conv2d_channels_last.cu, which chooses between these kernels.
#pragma once

#include "cuda/conv2d_channels_last_tile.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {

struct NormArguments {
  const float *gamma, *beta;
  float eps, slope;
  NormArguments(const Tensor& gamma_, const Tensor& beta_, const NormParams& p)
      : gamma(gamma_.data<float>()),
        beta(beta_.data<float>()),
        eps(static_cast<float>(p.eps)),
        slope(static_cast<float>(p.activation_slope)) {}

  // squares: sums of squared deviations over `count` pixels. Channels that are not there give numbers that nobody stores.
  __device__ __forceinline__ NormOfFour of_four(int o, int outputs, float4 mean, float4 squares, int count) const {
    const auto at = [&](const float* p, int i) { return p[min(o + i, outputs - 1)]; };
    const auto factor = [&](float sum, int i) { return at(gamma, i) / sqrtf(sum / static_cast<float>(count) + eps); };
    return {mean,
            {factor(squares.x, 0), factor(squares.y, 1), factor(squares.z, 2), factor(squares.w, 3)},
            {at(beta, 0), at(beta, 1), at(beta, 2), at(beta, 3)},
            slope};
  }
};

__device__ __forceinline__ float4 add(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }
__device__ __forceinline__ float4 scaled(float4 a, float f) { return {a.x * f, a.y * f, a.z * f, a.w * f}; }
// sum + (a - mean)^2
__device__ __forceinline__ float4 add_squares(float4 sum, float4 a, float4 mean) {
  const float4 d{a.x - mean.x, a.y - mean.y, a.z - mean.z, a.w - mean.w};
  return {fmaf(d.x, d.x, sum.x), fmaf(d.y, d.y, sum.y), fmaf(d.z, d.z, sum.z), fmaf(d.w, d.w, sum.w)};
}

// The sum over the threads with the same threadIdx.x % kFours, in a fixed order; every thread gets its own. kThreads in x.
template <int kFours, int kThreads>
__device__ __forceinline__ float4 sum_of_column(float4 v) {
  constexpr int kWarps = kThreads / kWarp;
  ASAP_SHARED(float4, partial, [kWarps][kFours]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
#pragma unroll
  for (int bits = kWarp / 2; bits >= kFours; bits /= 2) {
    v = add(v, {__shfl_xor_sync(kAllLanes, v.x, bits), __shfl_xor_sync(kAllLanes, v.y, bits),
                __shfl_xor_sync(kAllLanes, v.z, bits), __shfl_xor_sync(kAllLanes, v.w, bits)});
  }
  __syncthreads();  // an earlier call's partial sums may still be read
  if (lane < kFours) partial[warp][lane] = v;
  __syncthreads();
  float4 sum = partial[0][lane % kFours];
#pragma unroll 8
  for (int i = 1; i < kWarps; ++i) sum = add(sum, partial[i][lane % kFours]);
  return sum;
}

// ---- small planes: a block has all pixels of 8 channels, and keeps them in registers ------------------------------------
// 8 channels are the 32 bytes that the second-level cache reads at once: fewer a block would read as much for each.

constexpr int kPlaneFours = 2;
constexpr int kLargestPlane = 1024;  // pixels

// sums [splits][pictures][pixels][pitch]; blocks (groups of 8 channels, pictures). A thread has every kThreads / kPlaneFours-th
// pixel, kPasses of them. All loads of four splits are on their way before the first is added: pixels and channels that are
// not there read others' sums instead of branching.
template <int kThreads, int kPasses, class Y>
__global__ void __launch_bounds__(kThreads)
    plane_norm_kernel(const float* sums, ChannelsLastSizes s, SplitKPlan plan, NormArguments norm, Y* y) {
  constexpr int kRows = kThreads / kPlaneFours;
  const int pixels = s.pixels(), pitch = plan.pitch;
  let_next_kernel_start();
  const int o = (static_cast<int>(blockIdx.x) * kPlaneFours + static_cast<int>(threadIdx.x) % kPlaneFours) * 4;
  const int row = static_cast<int>(threadIdx.x) / kPlaneFours, picture = static_cast<int>(blockIdx.y);
  const auto is_there = [&](int pass) { return pass * kRows + row < pixels && o < s.o; };
  const int64_t split_size = int64_t{s.n} * pixels * pitch;
  const float* from[kPasses];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    from[pass] = sums + (int64_t{picture} * pixels + min(pass * kRows + row, pixels - 1)) * pitch + min(o, pitch - 4);
  }
  wait_for_previous_kernel();
  float4 h[kPasses] = {};
#pragma unroll 4
  for (int split = 0; split < plan.splits; ++split) {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      h[pass] = add(h[pass], *reinterpret_cast<const float4*>(from[pass] + split * split_size));
    }
  }
  float4 total{}, squares{};
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    if (is_there(pass)) total = add(total, h[pass]);
  }
  const float4 mean = scaled(sum_of_column<kPlaneFours, kThreads>(total), 1.0f / static_cast<float>(pixels));
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    if (is_there(pass)) squares = add_squares(squares, h[pass], mean);
  }
  squares = sum_of_column<kPlaneFours, kThreads>(squares);
  const NormOfFour apply = norm.of_four(o, s.o, mean, squares, pixels);
  Y* to = y + (int64_t{picture} * pixels + row) * s.y_pitch + o;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    if (is_there(pass)) store_four(apply(h[pass]), to + int64_t{pass} * kRows * s.y_pitch);
  }
}

// ---- large planes: the convolution left each tile's mean and squared deviations -------------------------------------------

constexpr int kTiledThreads = 512, kTiledFours = 4, kTiledRows = kTiledThreads / kTiledFours;
constexpr int kTiledBatch = 8;  // pixels of a thread that are on their way at once

// Tiles are joined by  mean = sum n_i mean_i / n,  squares = sum squares_i + n_i (mean_i - mean)^2  (Chan, Golub, LeVeque 1983),
// by every block for its 16 channels while its first pixels arrive: cheaper than a launch between. h [pictures][pixels][pitch],
// statistics [pictures][tiles][pitch], a tile of tile_pixels but for the last; blocks (pieces of the plane, groups of 16
// channels, pictures).
template <class Y>
__global__ void __launch_bounds__(kTiledThreads)
    tiled_norm_kernel(const float* h, const float2* statistics, ChannelsLastSizes s, SplitKPlan plan, int tile_pixels,
                      NormArguments norm, Y* y) {
  let_next_kernel_start();
  const int o = (static_cast<int>(blockIdx.y) * kTiledFours + static_cast<int>(threadIdx.x) % kTiledFours) * 4;
  const int row = static_cast<int>(threadIdx.x) / kTiledFours, picture = static_cast<int>(blockIdx.z);
  const int pixels = s.pixels(), tiles = plan.pixel_tiles, pitch = plan.pitch;
  const bool is_there = o < s.o;
  const int step = static_cast<int>(gridDim.x) * kTiledRows;
  int pixel = static_cast<int>(blockIdx.x) * kTiledRows + row;
  const float* from = h + int64_t{picture} * pixels * pitch + o;
  float4 batch[kTiledBatch] = {};
  const auto load_batch = [&] {
#pragma unroll
    for (int i = 0; i < kTiledBatch; ++i) {
      if (pixel + i * step < pixels)
        batch[i] = *reinterpret_cast<const float4*>(from + int64_t{pixel + i * step} * pitch);
    }
  };
  // f(number of pixels, means, squares) for this thread's tiles.
  const auto for_each_tile = [&](auto&& f) {
    if (!is_there) return;
    const float2* tile_statistics = statistics + int64_t{picture} * tiles * pitch + o;
#pragma unroll 4
    for (int tile = row; tile < tiles; tile += kTiledRows) {
      const auto* of_tile = reinterpret_cast<const float4*>(tile_statistics + int64_t{tile} * pitch);
      const float4 low = of_tile[0], high = of_tile[1];
      f(static_cast<float>(min(tile_pixels, pixels - tile * tile_pixels)), float4{low.x, low.z, high.x, high.z},
        float4{low.y, low.w, high.y, high.w});
    }
  };
  wait_for_previous_kernel();
  if (is_there) load_batch();
  float4 total{}, squares{};
  for_each_tile([&](float count, float4 mean, float4) { total = add(total, scaled(mean, count)); });
  const float4 mean = scaled(sum_of_column<kTiledFours, kTiledThreads>(total), 1.0f / static_cast<float>(pixels));
  for_each_tile([&](float count, float4 tile_mean, float4 tile_squares) {
    squares = add(squares, add(tile_squares, scaled(add_squares({}, tile_mean, mean), count)));
  });
  squares = sum_of_column<kTiledFours, kTiledThreads>(squares);
  if (!is_there) return;  // no barrier follows
  const NormOfFour apply = norm.of_four(o, s.o, mean, squares, pixels);
  Y* to = y + int64_t{picture} * pixels * s.y_pitch + o;
  while (pixel < pixels) {
#pragma unroll
    for (int i = 0; i < kTiledBatch; ++i) {
      const int at = pixel + i * step;
      if (at < pixels) store_four(apply(batch[i]), to + int64_t{at} * s.y_pitch);
    }
    pixel += kTiledBatch * step;
    load_batch();
  }
}

}  // namespace asap::cuda
