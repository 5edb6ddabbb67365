// A 1x1 convolution of channels-last bf16 pixels as one matrix product, for Hopper (compute capability 9.0): phi of the low-res
// stream. y[pixel][output] = act(bias[output] + sum over k of X[pixel][k] W[output][k]), all pictures one list of pixels.
//
// Floor of phi (256 pixels, 1024 channels, 14856 outputs): 30 MB of weights from memory, 7.2 us at 4.2 TB/s; 16 steps of 1024
// cycles of its tensor cores on each of 117 multiprocessors, 8.6 us at 1.9 GHz. What is in the way is the second-level cache: a
// block of 256 x 128 takes in 512 KB of X and 256 KB of W, in all 92 MB, 17 us. So the blocks of a cluster, which have the same
// pixels, copy a part of X each to all of them (multicast): 46 MB, 8.4 us.
//
// The product is transposed, D[output][pixel]: each of two warpgroups has 64 outputs and all 256 pixels, the widest product
// there is, which reads the least shared memory: 80 of its 128 cycles; copies write there in another 48.
// A warp of its own feeds a ring of stages by TMA, full and free by mbarriers. Next: hopper.cuh.
#include "cuda/conv2d_channels_last_tile.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {
namespace {

constexpr int kPixels = 256, kOutputs = 128, kGroupOutputs = 64;  // of a block; of a warpgroup
constexpr int kMultiplying = kOutputs / kGroupOutputs * 128, kThreads = kMultiplying + kWarp;  // threads
constexpr int kClusterBlocks = 4, kPartPixels = kPixels / kClusterBlocks;  // that a block copies for its cluster
constexpr int kStages = 4, kWeightBytes = kOutputs * kStepBytes, kPartOfX = kPartPixels * kStepBytes;
constexpr int kStageBytes = kWeightBytes + kClusterBlocks * kPartOfX;
constexpr int kOutPitch = kOutputs + 8;  // of the tile of y: the rows of a store meet no bank twice
static_assert(kPixels * kOutPitch * sizeof(bf16) <= size_t{kStages} * kStageBytes);

// A stage is full when its weights and every block's part of its pixels have come. It is free when all warps of the cluster that
// multiply are done with it, since each block writes to all.
struct Barriers {
  PhaseBarrier full[kStages], free[kStages];
};
constexpr size_t kSharedBytes = size_t{kStages} * kStageBytes + sizeof(Barriers);

// The copies of a block, step by step; all of them by one thread.
struct Copies {
  const TileMap &pixels, &weights;
  char* stages;
  Barriers& barriers;
  int first_pixel, first_output;

  // The first of a step: announces all that the stage will hold.
  __device__ __forceinline__ void copy_weights(int step) const {
    PhaseBarrier* full = &barriers.full[step % kStages];
    arrive_expecting(full, kStageBytes);
    copy_tile_async(stages + step % kStages * kStageBytes, weights, first_output, step * kTileColumns, full);
  }
  // To every block of the cluster.
  __device__ __forceinline__ void copy_pixels(int step) const {
    const int part = cluster_rank();
    copy_tile_to_blocks_async(stages + step % kStages * kStageBytes + kWeightBytes + part * kPartOfX, pixels,
                              first_pixel + part * kPartPixels, step * kTileColumns, &barriers.full[step % kStages],
                              kClusterBlocks);
  }
};

// The multiplying threads ask for the block's weights, in the order of its steps, while the kernel ahead still runs: copies of tiles
// alone have too few bytes on their way for memory.
__device__ __forceinline__ void prefetch_weights(const bf16* w, const ChannelsLastSizes& s, int first_output, int steps) {
  for (int i = static_cast<int>(threadIdx.x); i < steps * kOutputs; i += kMultiplying) {
    const int output = first_output + i % kOutputs;
    if (output < s.o) prefetch_to_cache(w + int64_t{output} * s.w_pitch + i / kOutputs * kTileColumns);
  }
}

// Multiplies what the stages bring: 64 outputs times 256 pixels.
__device__ __forceinline__ void multiply_steps(char* stages, Barriers& barriers, int steps, float (&sums)[kPixels / 2]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const uint64_t a = matrix_descriptor(stages + warpgroup() * kGroupOutputs * kStepBytes, kChunkBytes, 8 * kStepBytes, true);
  const uint64_t b = matrix_descriptor(stages + kWeightBytes, kChunkBytes, 8 * kStepBytes, true);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const int stage = step % kStages;
    wait_for_phase(&barriers.full[stage], step / kStages % 2);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < kStepParts; ++part) {
      const int further = (stage * kStageBytes + part * kPartBytes) / kChunkBytes;  // as descriptors count
      warpgroup_multiply<kPixels>(sums, moved(a, further), moved(b, further), step > 0 || part > 0);
    }
    warpgroup_commit();
    warpgroup_wait<1>();  // for the step before this one, whose stage may be needed again
    const int last = step - 1;
    if (last >= 0 && last + kStages < steps && lane < kClusterBlocks) arrive_at_block(&barriers.free[last % kStages], lane);
    __syncwarp();
  }
  warpgroup_wait<0>(sums);
}

// The sums with bias and activation as rows of pixels in shared memory.
__device__ __forceinline__ void finish_sums(const float (&sums)[kPixels / 2], const ChannelsLastSizes& s,
                                            int first_output, const Epilogue<float>& epilogue, bf16* tile) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, output = static_cast<int>(threadIdx.x) / kWarp * 16;
  float bias[2] = {};
  for (int half = 0; half < 2 && epilogue.bias; ++half) {
    bias[half] = epilogue.bias[min(first_output + output + lane / 4 + 8 * half, s.o - 1)];
  }
  bf16* to = tile + (lane / 16 * 8 + lane % 8) * kOutPitch + output + lane / 8 % 2 * 8;
#pragma unroll
  for (int pixel = 0; pixel < kPixels; pixel += 16) {
    uint32_t fragments[4];  // 8 outputs x 8 pixels: both halves of the outputs, then those of the next 8 pixels
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = sums + pixel / 2 + 2 * i;
      fragments[i] = pack_bf16(activate(pair[0] + bias[i % 2], epilogue.slope),
                               activate(pair[1] + bias[i % 2], epilogue.slope));
    }
    store_matrices_transposed(to + pixel * kOutPitch, fragments);
  }
}

// Blocks (tiles of outputs, tiles of pixels), clusters along the outputs. Some have no outputs: they copy and multiply zeros.
__global__ void __launch_bounds__(kThreads, 1)
    pixels_product_kernel(const bf16* w, const __grid_constant__ TileMap pixels, const __grid_constant__ TileMap weights,
                          ChannelsLastSizes s, Epilogue<float> epilogue, bf16* y) {
  char* stages = aligned_shared<char>();
  auto& barriers = *reinterpret_cast<Barriers*>(stages + kStages * kStageBytes);
  const int thread = static_cast<int>(threadIdx.x), steps = static_cast<int>(ceil_div(s.c, kTileColumns));
  const int first_pixel = static_cast<int>(blockIdx.y) * kPixels, first_output = static_cast<int>(blockIdx.x) * kOutputs;
  const Copies copies{pixels, weights, stages, barriers, first_pixel, first_output};
  let_next_kernel_start();
  if (thread == kMultiplying) {
    for (auto& full : barriers.full) begin_phases(&full, 1);
    for (auto& free : barriers.free) begin_phases(&free, kMultiplying / kWarp * kClusterBlocks);
    fence_phase_barriers();
    prefetch_map(pixels);
  } else if (thread < kMultiplying) {
    prefetch_weights(w, s, first_output, steps);
  }
  cluster_arrive_relaxed();
  cluster_wait();
  wait_for_previous_kernel();
  float sums[kPixels / 2];
  if (thread < kMultiplying) {
    multiply_steps(stages, barriers, steps, sums);
  } else if (thread == kMultiplying) {
    for (int step = 0; step < steps; ++step) {
      if (step >= kStages) wait_for_phase(&barriers.free[step % kStages], (step / kStages - 1) % 2);
      copies.copy_weights(step);
      copies.copy_pixels(step);
    }
  }
  cluster_arrive_relaxed();  // what the others copied to this block has come
  __syncthreads();           // and has been read: the tile of y takes its place
  auto* tile = reinterpret_cast<bf16*>(stages);
  if (thread < kMultiplying) finish_sums(sums, s, first_output, epilogue, tile);
  __syncthreads();
  constexpr int kChunks = kOutputs / 8;
  const int chunk = thread % kChunks * 8, rows = min(kPixels, s.n * s.pixels() - first_pixel);
  y += int64_t{first_pixel} * s.y_pitch + first_output + chunk;
  if (first_output + chunk < s.o) {  // behind the last output there is room for whole chunks
    for (int row = thread / kChunks; row < rows; row += kThreads / kChunks) {
      *reinterpret_cast<uint4*>(y + int64_t{row} * s.y_pitch) =
          *reinterpret_cast<const uint4*>(tile + row * kOutPitch + chunk);
    }
  }
  cluster_wait();  // what this block copied has come to the others
}

void run_product(const Tensor& x, const Tensor& w, const Tensor& bias, const Conv2dParams& p, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  const int64_t all_pixels = int64_t{s.n} * s.pixels(), output_tiles = ceil_div(s.o, kOutputs);
  const TileMap pixels = tile_map(x.data<bf16>(), all_pixels, s.c, int64_t{s.x_pitch} * 2, kPartPixels);
  const TileMap weights = tile_map(w.data<bf16>(), s.o, s.c, int64_t{s.w_pitch} * 2, kOutputs);
  const dim3 blocks(static_cast<unsigned>(ceil_div(output_tiles, kClusterBlocks) * kClusterBlocks),
                    static_cast<unsigned>(ceil_div(all_pixels, kPixels)));
  launch(pixels_product_kernel, Launch(blocks, kThreads, kSharedBytes).in_clusters(kClusterBlocks).overlapping(),
         w.data<bf16>(), pixels, weights, s, Epilogue<float>(bias, p.activation_slope), y.data<bf16>());
}

// Layers of whole tiles, since smaller ones would multiply mostly zeros. Of a few tiles only, mma.sync's smaller ones would give
// more multiprocessors something to do; but the model has one 1x1 convolution, phi, and never in less than a hundred tiles.
bool takes_product(const Tensor& x, const Tensor& w, const Tensor&, const Conv2dParams& p, Tensor& y) {
  if (x.dtype() != DType::bf16 || !card_has_wgmma() || !takes_pixels(x, w, p, y)) return false;
  const int64_t all_pixels = y.size(0) * y.size(2) * y.size(3), outputs = y.size(1);
  constexpr int64_t kGrid = 65535, kMost = INT32_MAX - kPixels;
  return w.size(2) == 1 && p.stride.h == 1 && p.padding.h == 0 && x.size(1) <= kMost && outputs <= kMost &&
         all_pixels >= kPixels && outputs >= kOutputs && all_pixels <= kGrid * kPixels;
}

}  // namespace

void add_conv2d_pixels_wgmma() {
  kernels::conv2d_forward.add(Device::cuda, "pixels_wgmma_bf16", run_product, takes_product,
                              {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
