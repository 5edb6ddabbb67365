// The convolution of a layer without norm on Hopper: products of warpgroups, which read both operands from shared memory and
// so neither wait for ldmatrix nor hold fragments in registers.
//
// Why: phi's layer (1x1, 1024 to 14856 channels at 16 x 16) reads 30 MB of weights once. By mma.sync its 117 blocks need more
// than twice the time of that reading, for 8 warps a multiprocessor wait for shared memory and for each other's barriers.
//
// D[output][pixel] = W[output][k] X[pixel][k]: 128 outputs by 256 pixels, 64 outputs for each of two warpgroups. StepLoader
// leaves both operands in wgmma's 128-byte swizzle as it is.
// Next: conv2d_channels_last.cu, which launches.
#pragma once

#include "cuda/conv2d_channels_last_split_k.cuh"

namespace asap::cuda {

using WideTile = ConvTile<256, 128, 2>;  // for StepLoader: 256 threads
constexpr int kWideStages = 4, kWideStageBytes = kSplitStageBytes<WideTile>;
constexpr int kWidePitch =
    WideTile::kOutputs + 8;  // of results, by pixels: neither their stores nor loads meet a bank twice

inline size_t wide_shared_bytes(const ChannelsLastSizes& s) {
  return size_t{kWideStages} * kWideStageBytes + step_table_bytes<WideTile>(s);
}

// y = act(sum + bias); the plan has one split.
__global__ void __launch_bounds__(WideTile::kThreads, 1)
    wide_kernel(const bf16* x, const bf16* w, ChannelsLastSizes s, SplitKPlan plan, Epilogue<float> epilogue, bf16* y) {
  constexpr int kAhead = kWideStages - 2, kGroupOutputs = 64;
  static_assert(WideTile::kPixels * kWidePitch * sizeof(bf16) <= kWideStages * kWideStageBytes);
  let_next_kernel_start();
  char* stages = aligned_shared<char>();
  const TilePlace<WideTile> place(plan);
  prefetch_weights(w, s, place);
  StepLoader<bf16, WideTile> loader(x, w, s, reinterpret_cast<int*>(stages + kWideStages * kWideStageBytes), place);
  const auto stage_of = [&](int step) { return stages + step % kWideStages * kWideStageBytes; };
  wait_for_previous_kernel();
  for (int step = 0; step < kAhead; ++step) {
    if (step < plan.steps) loader.load(stage_of(step));
    copy_commit();
  }
  const int group = static_cast<int>(threadIdx.x) / 128, first_row = group * kGroupOutputs;
  float sums[WideTile::kPixels / 2];
  for (int step = 0; step < plan.steps; ++step) {
    copy_wait<kAhead - 1>();
    fence_shared_for_async();
    __syncthreads();  // this step has arrived for all; both warpgroups are done with the step before the last
    const char* pixels = stage_of(step);
    const char* weights = pixels + (WideTile::kPixels + first_row) * kStepBytes;
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < kStepParts; ++part) {
      const uint64_t a = matrix_descriptor(weights + part * kPartBytes, kChunkBytes, 8 * kStepBytes, true);
      const uint64_t b = matrix_descriptor(pixels + part * kPartBytes, kChunkBytes, 8 * kStepBytes, true);
      warpgroup_multiply<WideTile::kPixels>(sums, a, b, step > 0 || part > 0);
    }
    warpgroup_commit();
    if (step + kAhead < plan.steps) loader.load(stage_of(step + kAhead));
    copy_commit();
    warpgroup_wait<1>();
  }
  warpgroup_wait<0>(sums);
  __syncthreads();  // nobody reads the operands any more: their place takes the result
  // Through shared memory, since a thread's sums are of two outputs and neighbours in y are outputs.
  auto* out = reinterpret_cast<bf16*>(stages);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int output = first_row + static_cast<int>(threadIdx.x) % 128 / kWarp * 16 + lane / 4;
  const auto bias_of = [&](int o) {
    return epilogue.bias ? epilogue.bias[min(place.first_output + o, s.outputs - 1)] : 0.0f;
  };
  const float low = bias_of(output), high = bias_of(output + 8);
  bf16* to = out + lane % 4 * 2 * kWidePitch + output;
#pragma unroll
  for (int j = 0; j < WideTile::kPixels / 8; ++j) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      to[(8 * j + i) * kWidePitch] = to_bf16(activate(sums[4 * j + i] + low, epilogue.slope));
      to[(8 * j + i) * kWidePitch + 8] = to_bf16(activate(sums[4 * j + 2 + i] + high, epilogue.slope));
    }
  }
  __syncthreads();
  constexpr int kChunks = WideTile::kOutputs / 8, kRowStep = WideTile::kThreads / kChunks;
  const int column = static_cast<int>(threadIdx.x) % kChunks * 8;
  if (place.first_output + column >= s.outputs) return;  // no barrier follows
  const int rows = min(WideTile::kPixels, s.pixels() - place.first_pixel);
  y += (int64_t{place.picture} * s.pixels() + place.first_pixel) * s.y_pitch + place.first_output + column;
#pragma unroll 4
  for (int row = static_cast<int>(threadIdx.x) / kChunks; row < rows; row += kRowStep) {
    *reinterpret_cast<uint4*>(y + int64_t{row} * s.y_pitch) =
        *reinterpret_cast<const uint4*>(out + row * kWidePitch + column);
  }
}

}  // namespace asap::cuda
