// A layer of few pixels in one kernel, for Hopper (compute capability 9.0): the eight blocks of a cluster split K between them,
// add up their sums through each other's shared memory and norm them there. Only x, w and y touch memory.
//
// Why: at batch 1 the 16 x 16 grid's layers (1024 to 1024 channels) are bound by reading 19 MB of weights once. Splitting K over
// a grid and norming in a second kernel writes and reads 8 MB of sums and starts twice. Here a cluster has 72 outputs, so that
// 15 clusters do: an H200 runs no more of them at a time, since it places a cluster within one group of 16 or 18
// multiprocessors. Each block has an eighth of the channels and all pixels.
//
// The product is D[pixel][output] = X[pixel][k] W[output][k], both operands in wgmma's 128-byte swizzle. W streams through a ring
// of stages. X is the block's window of the padded picture, 64 channels of a pixel a row: since the swizzle is one of addresses,
// eight rows may begin at any pixel, so that another tap is another start address. A product of 64 pixels takes 8 columns of 8
// rows of the picture.
// The variant cluster_bf16 of conv2d_instance_norm. Next: hopper.cuh for wgmma and clusters.
#include "cuda/conv2d_instance_norm.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {
namespace {

constexpr int kClusterBlocks = 8;  // and pieces of K
constexpr int kClusterOutputs = 72,
              kClusterFinished = kClusterOutputs / kClusterBlocks;              // of a cluster; normed by a block
constexpr int kClusterGroups = 4, kClusterThreads = kClusterGroups * 128;       // warpgroups
constexpr int kClusterSide = 8, kClusterProduct = kClusterSide * kClusterSide;  // rows, columns; pixels of a product
constexpr int kClusterRows = 2 * kClusterSide;                                  // of y at most
constexpr int kClusterStepBytes = kClusterOutputs * kStepBytes, kStageSteps = 3,
              kClusterStageBytes = kStageSteps * kClusterStepBytes;
constexpr int kSliceChannels = kTileColumns;  // a step multiplies one tap of a slice of channels

// kProducts: of each warpgroup; pictures are at most 16 kProducts columns wide. As many stages as shared memory has room for.
template <int kProducts>
constexpr int kClusterStages = kProducts == 1 ? 4 : 2;
// Whether a warp of its own streams the weights: with two products the warpgroups' registers leave no room for one.
template <int kProducts>
constexpr bool kStreamingWarp = kProducts == 1;
template <int kProducts>
constexpr int kAllThreads = kClusterThreads + (kStreamingWarp<kProducts> ? kWarp : 0);
template <int kProducts>
constexpr int kClusterPixels = kClusterGroups* kProducts* kClusterProduct;
template <int kProducts>
constexpr int kClusterPitch = kClusterPixels<kProducts> + 4;  // of sums: the lanes of a store meet no bank twice

// Stages of weights are full when their tile has come, and free when all warps are done with it; a slice of the window has come
// when every warp has its part of it.
template <int kProducts>
struct ClusterBarriers {
  static constexpr int kStages = kClusterStages<kProducts>, kCount = 2 * kStages + 2;
  PhaseBarrier all[kCount];
  __device__ __forceinline__ PhaseBarrier* full(int stage) { return all + stage; }
  __device__ __forceinline__ PhaseBarrier* free(int stage) { return all + kStages + stage; }
  __device__ __forceinline__ PhaseBarrier* slice(int i) { return all + 2 * kStages + i; }
  // One in each of the first warps: a warp's threads would take turns.
  __device__ __forceinline__ void begin() {
    const int thread = static_cast<int>(threadIdx.x), i = thread / kWarp;
    static_assert(kCount <= kClusterThreads / kWarp);
    if (thread % kWarp != 0 || i >= kCount) return;
    begin_phases(all + i, i < kStages ? 1 : kClusterThreads / kWarp);
    fence_phase_barriers();
  }
};

// What follows from the layer's sizes: the window, and where in shared memory things lie.
template <int kProducts>
struct ClusterLayout {
  int width, pixels;  // of the window
  int slices;         // of a block's channels: 1 or 2
  int slice_bytes;    // from one to the next
  int barriers;       // byte that they begin at: behind the stages and the window, and behind the sums that take their place
  int places;         // where find_pixels begins to write
  ClusterLayout(const ChannelsLastSizes& s)
      : width(s.ow + s.kh - 1),
        pixels(width * (s.oh + s.kh - 1)),
        slices(s.c / kClusterBlocks / kSliceChannels) {
    constexpr int kPattern = 1024;  // the swizzle's
    slice_bytes = ((kClusterRows + s.kh - 1) * width * kStepBytes + kPattern - 1) / kPattern * kPattern;
    constexpr int kBehind = 2048;  // columns that are not there are read as well, behind the last row
    const int operands = kClusterStages<kProducts> * kClusterStageBytes + slices * slice_bytes + kBehind;
    constexpr int kSums = kClusterOutputs * kClusterPitch<kProducts> * static_cast<int>(sizeof(float));
    constexpr int kOut = kClusterFinished * kClusterPixels<kProducts> * static_cast<int>(sizeof(bf16));
    static_assert(kSums % 16 == 0 && kOut % 16 == 0);
    barriers = std::max(operands, kSums + kOut);
    places = barriers + static_cast<int>(sizeof(ClusterBarriers<kProducts>));
  }
  size_t shared_bytes() const { return static_cast<size_t>(places) + static_cast<size_t>(pixels) * sizeof(int); }
};

// Asks for a block's weights, in the order of its steps: copies of tiles alone have too few bytes on their way for memory.
__device__ __forceinline__ void prefetch_weights(const bf16* w, const ChannelsLastSizes& s, int slices, int first_output,
                                                 int first_channel) {
  const int taps = s.kh * s.kh;
  for (int i = static_cast<int>(threadIdx.x); i < taps * kClusterOutputs; i += kClusterThreads) {
    const int tap = i / kClusterOutputs, output = first_output + i % kClusterOutputs;
    const bf16* from = w + (int64_t{output} * taps + tap) * s.w_pitch + first_channel;
    for (int slice = 0; slice < slices && output < s.o; ++slice) prefetch_to_cache(from + slice * kSliceChannels);
  }
}

// Where the window's pixels lie in x, in elements; negative: zeros.
__device__ __forceinline__ void find_pixels(const ChannelsLastSizes& s, int width, int count, int* places) {
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kClusterThreads) {
    const int row = i / width, column = i - row * width;
    const int h = padded_index(row - s.padding_h, s.h, s.pad_mode), w = padded_index(column - s.padding_h, s.w, s.pad_mode);
    places[i] = h >= 0 && w >= 0 ? (h * s.w + w) * s.x_pitch : -1;
  }
}

// Starts the copies of one slice of the window, a pixel a row. `x`: the slice's first channel. The 128 bytes of a row are
// neighbours there as here: copies that scatter a pixel's chunks took four times as long.
__device__ __forceinline__ void copy_slice(const bf16* x, const int* places, int count, char* to) {
  const int thread = static_cast<int>(threadIdx.x), chunk = thread % kStepChunks;
#pragma unroll 4
  for (int i = thread / kStepChunks; i < count; i += kClusterThreads / kStepChunks) {
    copy_async<kChunkBytes>(to + swizzled(i, chunk), x + max(places[i], 0) + chunk * 8, places[i] >= 0);
  }
}

// Of a cluster's outputs, block i finishes 8 i .. 8 i + 7 and 64 + i. The number of such an output in the cluster:
__device__ __forceinline__ int finished_output(int own) {
  return own < 8 ? cluster_rank() * 8 + own : 64 + cluster_rank();
}

// The sums of the products, [output][product][row][column], in shared memory.
template <int kProducts>
__device__ __forceinline__ void store_sums(const float (&sums)[kProducts][kClusterOutputs / 2], float* to) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int pixel = warp % 4 * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < kProducts; ++i) {
    float* product = to + (warp / 4 + kClusterGroups * i) * kClusterProduct + pixel;
#pragma unroll
    for (int j = 0; j < kClusterOutputs / 2; ++j) {
      product[(j / 4 * 8 + lane % 4 * 2 + j % 2) * kClusterPitch<kProducts> + j / 2 % 2 * 8] = sums[i][j];
    }
  }
}

// A block's 9 outputs of all pixels, one in each of its first 9 warps: the pieces' sums added, beginning with the block's own so
// that not all read one block at a time, normed, activated. `sums`: shared, as store_sums leaves them in every block of the
// cluster; `out`: shared, [pixel][8], then the ninth's [pixel]. `scale`, `shift`: gamma and beta.
template <int kProducts>
__device__ __forceinline__ void finish_output(float* sums, const ChannelsLastSizes& s, float scale, float shift,
                                              const NormArguments& norm, bf16* out) {
  constexpr int kPixels = kClusterPixels<kProducts>, kFours = kPixels / 4 / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, own = static_cast<int>(threadIdx.x) / kWarp;
  const int output = finished_output(own);
  // The i-th four of this lane: neighbouring columns of one row.
  const auto place = [&](int i) { return 4 * (lane + kWarp * i); };
  float4 h[kFours] = {};
  constexpr int kAtOnce = 8 / kProducts;  // blocks whose sums are on their way before the first is added
#pragma unroll 1
  for (int first = 0; first < kClusterBlocks; first += kAtOnce) {
    float4 parts[kAtOnce][kFours];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int block = (cluster_rank() + first + i) % kClusterBlocks;
      const float* from = of_block(sums, block) + output * kClusterPitch<kProducts>;
#pragma unroll
      for (int j = 0; j < kFours; ++j) parts[i][j] = *reinterpret_cast<const float4*>(from + place(j));
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
#pragma unroll
      for (int j = 0; j < kFours; ++j) h[j] = add(h[j], parts[i][j]);
    }
  }
  const auto row = [&](int i) {
    return place(i) / kClusterProduct % 2 * kClusterSide + place(i) / kClusterSide % kClusterSide;
  };
  const auto column = [&](int i) { return place(i) / (2 * kClusterProduct) * kClusterSide + place(i) % kClusterSide; };
  const auto is_there = [&](int i) { return row(i) < s.oh && column(i) < s.ow; };
  const auto sum_of_four = [](float4 v) { return v.x + v.y + v.z + v.w; };
  const float share = 1.0f / static_cast<float>(s.pixels());
  float sum = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (is_there(i)) sum += sum_of_four(h[i]);
  }
  const float mean = warp_reduce(sum) * share;
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (is_there(i)) squares += sum_of_four(add_squares({}, h[i], {mean, mean, mean, mean}));
  }
  const float factor = scale / sqrtf(warp_reduce(squares) * share + norm.eps);
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (!is_there(i)) continue;
    const int pixel = row(i) * s.ow + column(i), step = own < 8 ? 8 : 1;
    bf16* to = own < 8 ? out + pixel * 8 + own : out + 8 * kPixels + pixel;
    const float v[4] = {h[i].x, h[i].y, h[i].z, h[i].w};
#pragma unroll
    for (int j = 0; j < 4; ++j) to[j * step] = to_bf16(activate((v[j] - mean) * factor + shift, norm.slope));
  }
}

// What finish_output left, in y at its first pixel and the cluster's first output: 16 bytes of every pixel, and the ninth.
template <int kProducts>
__device__ __forceinline__ void store_outputs(const bf16* out, const ChannelsLastSizes& s, int first_output, bf16* y) {
  const int eight = finished_output(0), ninth = finished_output(8), left = s.o - first_output;
  for (int pixel = static_cast<int>(threadIdx.x); pixel < s.pixels(); pixel += kClusterThreads) {
    bf16* to = y + pixel * s.y_pitch;
    const bf16* from = out + pixel * 8;
    if (eight + 8 <= left) {
      *reinterpret_cast<uint4*>(to + eight) = *reinterpret_cast<const uint4*>(from);
    } else {
      for (int i = 0; eight + i < left; ++i) to[eight + i] = from[i];
    }
    if (ninth < left) to[ninth] = out[8 * kClusterPixels<kProducts> + pixel];
  }
}

// One thread has the weights copied, all taps of a slice, then those of the next, as many steps ahead as there are stages.
template <int kProducts>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const TileMap& weights, const ChannelsLastSizes& s, int slices,
                                          int first_output, int first_channel, char* stages,
                                          ClusterBarriers<kProducts>& barriers)
      : weights_(weights),
        s_(s),
        barriers_(barriers),
        stages_(stages),
        first_output_(first_output),
        first_channel_(first_channel),
        steps_(slices * s.kh * s.kh) {}

  // The next stage when it is free; false: there is none. Steps behind the last get zeros: what lies behind the last output.
  __device__ __forceinline__ bool copy_next() {
    if (steps_ <= 0) return false;
    PhaseBarrier* full = barriers_.full(stage_);
    wait_for_phase(barriers_.free(stage_), parity_);
    arrive_expecting(full, kClusterStageBytes);
    for (int i = 0; i < kStageSteps; ++i) {
      copy_tile_async(stages_ + stage_ * kClusterStageBytes + i * kClusterStepBytes, weights_,
                      steps_-- > 0 ? first_output_ : s_.o, tap_ * s_.w_pitch + first_channel_, full);
      if (++tap_ == s_.kh * s_.kh) tap_ = 0, first_channel_ += kSliceChannels;
    }
    if (++stage_ == kClusterStages<kProducts>) stage_ = 0, parity_ ^= 1;
    return true;
  }

 private:
  const TileMap& weights_;
  const ChannelsLastSizes& s_;
  ClusterBarriers<kProducts>& barriers_;
  char* stages_;
  int first_output_, first_channel_, steps_;
  int tap_ = 0, stage_ = 0, parity_ = 1;  // of the phase before the first: all stages are free
};

// The products of a block. `x`: its first channel.
template <int kProducts>
__device__ __forceinline__ void multiply_window(const bf16* x, const ChannelsLastSizes& s,
                                                const ClusterLayout<kProducts>& layout, char* stages,
                                                ClusterBarriers<kProducts>& barriers, const int* places,
                                                WeightStream<kProducts>& stream,
                                                float (&sums)[kProducts][kClusterOutputs / 2]) {
  constexpr int kStages = kClusterStages<kProducts>;
  char* pixels = stages + kStages * kClusterStageBytes;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, group = warpgroup();
  const bool streams = !kStreamingWarp<kProducts> && thread == kClusterThreads - kWarp;
  copy_slice(x, places, layout.pixels, pixels);
  copy_commit();
  if (layout.slices > 1) {
    copy_slice(x + kSliceChannels, places, layout.pixels, pixels + layout.slice_bytes);
    copy_commit();
  }
  for (int i = 0; streams && i < kStages; ++i) stream.copy_next();

  const uint64_t window_a = matrix_descriptor(pixels, kChunkBytes, layout.width * kStepBytes, true);
  const uint64_t stages_b = matrix_descriptor(stages, kChunkBytes, 8 * kStepBytes, true);
  const int corner = group % 2 * kClusterSide * layout.width + group / 2 * kClusterSide;  // the first tap's pixel
  const int taps = s.kh * s.kh, steps = layout.slices * taps;
  int stage = 0, parity = 0, row = 0, column = 0, slice_chunk = 0, slices = 0;  // slices that have come
#pragma unroll 1
  for (int first = 0; first < steps; first += kStageSteps) {
    while (slices < layout.slices && slices * taps < first + kStageSteps) {
      slices + 1 < layout.slices ? copy_wait<1>() : copy_wait<0>();  // this thread's part; the products see it once
      fence_shared_for_async();                                      // all say that they have theirs
      __syncwarp();
      if (lane == 0) arrive(barriers.slice(slices));
      wait_for_phase(barriers.slice(slices), 0);
      ++slices;
    }
    int corners[kStageSteps];  // of the steps; those behind the last multiply anything by zeros
#pragma unroll
    for (int i = 0; i < kStageSteps; ++i) {
      corners[i] = first + i < steps ? slice_chunk + (corner + row * layout.width + column) * kStepChunks : 0;
      if (++column == s.kh) column = 0, ++row;
      if (row == s.kh) row = 0, slice_chunk += layout.slice_bytes / kChunkBytes;
    }
    wait_for_phase(barriers.full(stage), parity);
    warpgroup_arrive();
#pragma unroll
    for (int i = 0; i < kStageSteps; ++i) {
      const int b = (stage * kClusterStageBytes + i * kClusterStepBytes) / kChunkBytes;
#pragma unroll
      for (int part = 0; part < kStepParts; ++part) {
#pragma unroll
        for (int product = 0; product < kProducts; ++product) {
          warpgroup_multiply<kClusterOutputs>(
              sums[product], moved(window_a, corners[i] + 2 * part + 2 * product * kClusterSide * kStepChunks),
              moved(stages_b, b + 2 * part), first > 0 || i > 0 || part > 0);
        }
      }
    }
    warpgroup_commit();
    warpgroup_wait<1>();  // for the stage before this one
    if (first > 0) {
      if (lane == 0) arrive(barriers.free((stage == 0 ? kStages : stage) - 1));
      if (streams) stream.copy_next();
      __syncwarp();
    }
    if (++stage == kStages) stage = 0, parity ^= 1;
  }
  if constexpr (kProducts == 1) warpgroup_wait<0>(sums[0]);
  if constexpr (kProducts == 2) warpgroup_wait<0>(sums[0], sums[1]);
}

// Blocks (pieces of K, tiles of outputs, pictures), a cluster along x.
template <int kProducts>
__global__ void __launch_bounds__(kAllThreads<kProducts>, 1)
    conv_cluster_kernel(const bf16* x, const bf16* w, const __grid_constant__ TileMap weights, ChannelsLastSizes s,
                        ClusterLayout<kProducts> layout, NormArguments norm, bf16* y) {
  char* stages = aligned_shared<char>();
  auto& barriers = *reinterpret_cast<ClusterBarriers<kProducts>*>(stages + layout.barriers);
  int* places = reinterpret_cast<int*>(stages + layout.places);
  const int first_output = static_cast<int>(blockIdx.y) * kClusterOutputs, picture = static_cast<int>(blockIdx.z);
  const int first_channel = cluster_rank() * layout.slices * kSliceChannels, thread = static_cast<int>(threadIdx.x);
  const bool multiplies = thread < kClusterThreads;
  WeightStream<kProducts> stream(weights, s, layout.slices, first_output, first_channel, stages, barriers);
  let_next_kernel_start();
  if (thread == kAllThreads<kProducts> - kWarp) prefetch_map(weights);
  if (multiplies) {
    prefetch_weights(w, s, layout.slices, first_output, first_channel);
    barriers.begin();
    find_pixels(s, layout.width, layout.pixels, places);
  }
  __syncthreads();
  wait_for_previous_kernel();
  const int channel = min(first_output + finished_output(min(thread / kWarp, kClusterFinished - 1)), s.o - 1);
  const float scale = norm.gamma[channel], shift = norm.beta[channel];
  float sums[kProducts][kClusterOutputs / 2];
  if (multiplies) {
    x += int64_t{picture} * s.h * s.w * s.x_pitch + first_channel;
    multiply_window(x, s, layout, stages, barriers, places, stream, sums);
  } else {
    while (thread == kClusterThreads && stream.copy_next()) continue;
  }
  __syncthreads();  // nobody reads the operands any more: their place takes the sums
  auto* shared_sums = reinterpret_cast<float*>(stages);
  auto* out = reinterpret_cast<bf16*>(shared_sums + kClusterOutputs * kClusterPitch<kProducts>);
  if (multiplies) store_sums<kProducts>(sums, shared_sums);
  cluster_barrier();
  if (thread < kClusterFinished * kWarp) finish_output<kProducts>(shared_sums, s, scale, shift, norm, out);
  cluster_arrive();  // done with the others' memory
  __syncthreads();
  if (multiplies) {
    store_outputs<kProducts>(out, s, first_output, y + int64_t{picture} * s.pixels() * s.y_pitch + first_output);
  }
  cluster_wait();  // the others may still read this block's memory
}

// How many products of 8 columns each warpgroup has side by side.
int products_of(const ChannelsLastSizes& s) { return s.ow <= 2 * kClusterSide ? 1 : 2; }

void run_cluster(const Tensor& x, const Tensor& w, const Tensor& gamma, const Tensor& beta, const Conv2dParams& p,
                 const NormParams& norm_params, Tensor& y) {
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  const NormArguments norm(gamma, beta, norm_params);
  const dim3 blocks(kClusterBlocks, static_cast<unsigned>(ceil_div(s.o, kClusterOutputs)), static_cast<unsigned>(s.n));
  const int64_t row_elements = int64_t{s.kh} * s.kh * s.w_pitch;
  const TileMap weights = tile_map(w.data<bf16>(), s.o, row_elements, row_elements * 2, kClusterOutputs);
  const auto run = [&]<int kProducts>(std::integral_constant<int, kProducts>) {
    const ClusterLayout<kProducts> layout(s);
    launch(conv_cluster_kernel<kProducts>,
           Launch(blocks, kAllThreads<kProducts>, layout.shared_bytes()).in_clusters(kClusterBlocks).overlapping(),
           x.data<bf16>(), w.data<bf16>(), weights, s, layout, norm, y.data<bf16>());
  };
  products_of(s) == 1 ? run(std::integral_constant<int, 1>()) : run(std::integral_constant<int, 2>());
}

// One or two slices of channels for each block, whose second one must not be needed before it has come; rows of whole fours of
// pixels, so that four sums are neighbours in a row.
bool takes_cluster(const Tensor& x, const Tensor& w, const Tensor&, const Tensor&, const Conv2dParams& p,
                   const NormParams&, Tensor& y) {
  if (x.dtype() != DType::bf16 || !card_has_wgmma() || !takes_pixels(x, w, p, y)) return false;
  const ChannelsLastSizes s = channels_last_sizes(x, w, p, y);
  constexpr int kPiece = kSliceChannels * kClusterBlocks, kLeastSide = 3;
  constexpr int64_t kOffsets = INT32_MAX, kGrid = 65535;
  return s.stride_h == 1 && (s.c == kPiece || s.c == 2 * kPiece) && s.kh >= kLeastSide && s.oh <= kClusterRows &&
         s.ow <= 4 * kClusterSide && s.ow % 4 == 0 && s.n <= kGrid && s.o <= kGrid * kClusterOutputs &&
         x.size(2) * x.size(3) * s.x_pitch * 2 < kOffsets &&
         (products_of(s) == 1 ? ClusterLayout<1>(s).shared_bytes() : ClusterLayout<2>(s).shared_bytes()) + 1024 <=
             card().shared_bytes;
}

}  // namespace

void add_conv2d_instance_norm_cluster() {
  kernels::conv2d_instance_norm.add(Device::cuda, "cluster_bf16", run_cluster, takes_cluster,
                                    {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
