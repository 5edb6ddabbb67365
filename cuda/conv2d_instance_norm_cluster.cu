// A layer of few pixels in one kernel, for Hopper (compute capability 9.0): the eight blocks of a cluster split K between them,
// add up their sums through each other's shared memory and norm them there. Only x, w and y touch memory.
//
// Why: at batch 1 the 16 x 16 grid's layers (1024 to 1024 channels) are bound by reading 19 MB of weights once. Splitting K over
// a grid and norming in a second kernel writes and reads 8 MB of sums and starts twice. Here a cluster has 72 outputs, so that
// 15 clusters do: an H200 runs no more of them at a time, since it places a cluster within one group of 16 or 18
// multiprocessors. Each block has an eighth of the channels and all pixels.
//
// The product is D[pixel][output] = X[pixel][k] W[output][k]. W streams through a ring of stages in wgmma's 128-byte swizzle. X
// is the block's window of the padded picture, kept without swizzle: chunk by chunk of 8 channels, pixel by pixel. Eight pixels
// of a row are then one core matrix wherever it begins, so that another tap is another start address. A product of 64 pixels
// takes 8 columns of 8 rows of the picture: its core matrices lie one row apart.
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
constexpr int kClusterStageBytes = kClusterOutputs * kStepBytes;
constexpr int kSliceChannels = kTileColumns,
              kSliceChunks = kSliceChannels / 8;  // a step multiplies one tap of a slice of channels

// kProducts: of each warpgroup; pictures are at most 16 kProducts columns wide. As many stages as shared memory has room for.
template <int kProducts>
constexpr int kClusterStages = kProducts == 1 ? 12 : 7;
template <int kProducts>
constexpr int kClusterPixels = kClusterGroups* kProducts* kClusterProduct;
template <int kProducts>
constexpr int kClusterPitch = kClusterPixels<kProducts> + 4;  // of sums: the lanes of a store meet no bank twice

// Stages of weights are full when their tile has come, and free when all warps are done with it; a slice of the window has come
// when every warp has its part of it.
template <int kProducts>
struct ClusterBarriers {
  PhaseBarrier full[kClusterStages<kProducts>], free[kClusterStages<kProducts>], slice[2];
};

// What follows from the layer's sizes: the window, and where in shared memory things lie behind the stages.
template <int kProducts>
struct ClusterLayout {
  int width;        // pixels of a row of the window
  int chunk_bytes;  // from one chunk of channels to the next
  int slices;       // of a block's channels: 1 or 2
  int barriers;     // byte that they begin at; behind the window, and behind the sums that take its place
  ClusterLayout(const ChannelsLastSizes& s) : width(s.ow + s.kh - 1), slices(s.c / kClusterBlocks / kSliceChannels) {
    const int bytes = (kClusterRows + s.kh - 1) * width * kChunkBytes;
    chunk_bytes = (bytes + 127) / 128 * 128 + kChunkBytes;  // neighbouring chunks of a pixel fall on different banks
    constexpr int kBehind = 256;  // columns that are not there are read as well, behind the last row
    const int operands =
        kClusterStages<kProducts> * kClusterStageBytes + slices * kSliceChunks * chunk_bytes + kBehind;
    constexpr int kSums = kClusterOutputs * kClusterPitch<kProducts> * static_cast<int>(sizeof(float));
    constexpr int kOut = kClusterFinished * kClusterPixels<kProducts> * static_cast<int>(sizeof(bf16));
    barriers = std::max(operands, kSums + kOut);
    barriers = (barriers + 7) / 8 * 8;
  }
  size_t shared_bytes() const { return static_cast<size_t>(barriers) + sizeof(ClusterBarriers<kProducts>); }
};

// Starts the copies of one slice of the window, [chunk][pixel]: a warp takes a row, 4 pixels at a time.
template <class Layout>
__device__ __forceinline__ void copy_window(const bf16* x, const ChannelsLastSizes& s, const Layout& window,
                                            int first_channel, char* to) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, chunk = lane % kSliceChunks;
  const char* from = reinterpret_cast<const char*>(x) + first_channel * 2 + chunk * kChunkBytes;
  to += chunk * window.chunk_bytes;
  for (int row = static_cast<int>(threadIdx.x) / kWarp; row < s.oh + s.kh - 1; row += kClusterThreads / kWarp) {
    const int h = padded_index(row - s.padding_h, s.h, s.pad_mode);
    for (int i = lane / kSliceChunks; i < window.width; i += kWarp / kSliceChunks) {
      const int column = padded_index(i - s.padding_h, s.w, s.pad_mode);
      const bool inside = h >= 0 && column >= 0;
      copy_async<kChunkBytes>(to + (row * window.width + i) * kChunkBytes,
                              inside ? from + (h * s.w + column) * s.x_pitch * 2 : from, inside);
    }
  }
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

// A block's 9 outputs of all pixels, one in each of its first 9 warps: the pieces' sums added in the order of the blocks, normed,
// activated. `sums`: shared, as store_sums leaves them in every block of the cluster; `out`: shared, [pixel][9].
template <int kProducts>
__device__ __forceinline__ void finish_output(float* sums, const ChannelsLastSizes& s, int first_output,
                                              const NormArguments& norm, bf16* out) {
  constexpr int kFours = kClusterPixels<kProducts> / 4 / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, own = static_cast<int>(threadIdx.x) / kWarp;
  const int output = cluster_rank() * kClusterFinished + own;
  // The i-th four of this lane: neighbouring columns of one row.
  const auto place = [&](int i) { return 4 * (lane + kWarp * i); };
  float4 h[kFours] = {};
#pragma unroll
  for (int block = 0; block < kClusterBlocks; ++block) {
    const float* from = of_block(sums, block) + output * kClusterPitch<kProducts>;
#pragma unroll
    for (int i = 0; i < kFours; ++i) h[i] = add(h[i], *reinterpret_cast<const float4*>(from + place(i)));
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
  const int channel = min(first_output + output, s.o - 1);
  const float factor = norm.gamma[channel] / sqrtf(warp_reduce(squares) * share + norm.eps), shift = norm.beta[channel];
#pragma unroll
  for (int i = 0; i < kFours; ++i) {
    if (!is_there(i)) continue;
    bf16* to = out + (row(i) * s.ow + column(i)) * kClusterFinished + own;
    const float v[4] = {h[i].x, h[i].y, h[i].z, h[i].w};
#pragma unroll
    for (int j = 0; j < 4; ++j)
      to[j * kClusterFinished] = to_bf16(activate((v[j] - mean) * factor + shift, norm.slope));
  }
}

// One thread has the weights copied, all taps of a slice, then those of the next: as many steps ahead as there are stages, and
// from before the previous kernel's end on, since weights are constant.
template <int kProducts>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const TileMap& weights, const ChannelsLastSizes& s, int slices,
                                          int first_output, int first_channel, char* stages,
                                          ClusterBarriers<kProducts>& barriers)
      : weights_(weights),
        barriers_(barriers),
        stages_(stages),
        first_output_(first_output),
        first_channel_(first_channel),
        tap_elements_(s.w_pitch),
        taps_(s.kh * s.kh),
        slices_(slices) {}

  // The next step, if there is one, when its stage is free.
  __device__ __forceinline__ void copy_next() {
    if (slices_ == 0) return;
    wait_for_phase(&barriers_.free[stage_], parity_);
    arrive_expecting(&barriers_.full[stage_], kClusterStageBytes);
    copy_tile_async(stages_ + stage_ * kClusterStageBytes, weights_, first_output_,
                    tap_ * tap_elements_ + first_channel_, &barriers_.full[stage_]);
    if (++stage_ == kClusterStages<kProducts>) stage_ = 0, parity_ ^= 1;
    if (++tap_ == taps_) tap_ = 0, first_channel_ += kSliceChannels, --slices_;
  }

 private:
  const TileMap& weights_;
  ClusterBarriers<kProducts>& barriers_;
  char* stages_;
  int first_output_, first_channel_, tap_elements_, taps_, slices_;
  int tap_ = 0, stage_ = 0, parity_ = 1;  // of the phase before the first: all stages are free
};

// Blocks (pieces of K, tiles of outputs, pictures), a cluster along x.
template <int kProducts>
__global__ void __launch_bounds__(kClusterThreads, 1)
    conv_cluster_kernel(const bf16* x, const __grid_constant__ TileMap weights, ChannelsLastSizes s,
                        ClusterLayout<kProducts> layout, NormArguments norm, bf16* y) {
  constexpr int kStages = kClusterStages<kProducts>, kWarps = kClusterThreads / kWarp;
  char* stages = aligned_shared<char>();
  char* pixels = stages + kStages * kClusterStageBytes;
  auto& barriers = *reinterpret_cast<ClusterBarriers<kProducts>*>(stages + layout.barriers);
  const int first_output = static_cast<int>(blockIdx.y) * kClusterOutputs, picture = static_cast<int>(blockIdx.z);
  const int first_channel = cluster_rank() * layout.slices * kSliceChannels;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, group = thread / 128;
  WeightStream<kProducts> stream(weights, s, layout.slices, first_output, first_channel, stages, barriers);
  let_next_kernel_start();
  if (thread == 0) {
    for (auto& full : barriers.full) begin_phases(&full, 1);
    for (auto& free : barriers.free) begin_phases(&free, kWarps);
    for (auto& slice : barriers.slice) begin_phases(&slice, kWarps);
    fence_phase_barriers();
    for (int i = 0; i < kStages; ++i) stream.copy_next();
  }
  __syncthreads();
  wait_for_previous_kernel();
  x += int64_t{picture} * s.h * s.w * s.x_pitch;
  for (int slice = 0; slice < layout.slices; ++slice) {
    copy_window(x, s, layout, first_channel + slice * kSliceChannels,
                pixels + slice * kSliceChunks * layout.chunk_bytes);
    copy_commit();
  }

  // Descriptors count in units of 16 bytes.
  const int corner = group % 2 * kClusterSide * layout.width + group / 2 * kClusterSide;
  const int chunk_step = layout.chunk_bytes / kChunkBytes;
  uint64_t a = matrix_descriptor(pixels, layout.chunk_bytes, layout.width * kChunkBytes, false) + corner;
  const uint64_t stages_b = matrix_descriptor(stages, kChunkBytes, kSliceChunks * kStepBytes, true);
  float sums[kProducts][kClusterOutputs / 2];
  int step = 0, stage = 0, parity = 0, last_stage = 0;
  for (int slice = 0; slice < layout.slices; ++slice) {
    slice + 1 < layout.slices ? copy_wait<1>() : copy_wait<0>();
    fence_shared_for_async();
    __syncwarp();
    if (lane == 0) arrive(&barriers.slice[slice]);
    wait_for_phase(&barriers.slice[slice], 0);
    for (int row = 0; row < s.kh; ++row, a += layout.width) {
#pragma unroll 1
      for (int column = 0; column < s.kh; ++column, ++step) {
        wait_for_phase(&barriers.full[stage], parity);
        const uint64_t b = stages_b + stage * (kClusterStageBytes / kChunkBytes);
        warpgroup_arrive();
#pragma unroll
        for (int part = 0; part < kStepParts; ++part) {
#pragma unroll
          for (int i = 0; i < kProducts; ++i) {
            warpgroup_multiply<kClusterOutputs>(sums[i], a + column + 2 * part * chunk_step + 2 * i * kClusterSide,
                                                b + part * (kPartBytes / kChunkBytes), step > 0 || part > 0);
          }
        }
        warpgroup_commit();
        warpgroup_wait<1>();  // for the step before this one
        if (step > 0 && lane == 0) arrive(&barriers.free[last_stage]);
        // Into the stage of the step before that, which the other warpgroups have mostly left by now.
        if (step > 1 && thread == 0) stream.copy_next();
        __syncwarp();
        last_stage = stage;
        if (++stage == kStages) stage = 0, parity ^= 1;
      }
    }
    a += kSliceChunks * chunk_step - s.kh * layout.width;
  }
  if constexpr (kProducts == 1) warpgroup_wait<0>(sums[0]);
  if constexpr (kProducts == 2) warpgroup_wait<0>(sums[0], sums[1]);
  __syncthreads();  // nobody reads the operands any more: their place takes the sums
  auto* shared_sums = reinterpret_cast<float*>(stages);
  auto* out = reinterpret_cast<bf16*>(shared_sums + kClusterOutputs * kClusterPitch<kProducts>);
  store_sums<kProducts>(sums, shared_sums);
  cluster_barrier();
  if (thread < kClusterFinished * kWarp) finish_output<kProducts>(shared_sums, s, first_output, norm, out);
  cluster_arrive();  // done with the others' memory
  __syncthreads();
  y += int64_t{picture} * s.pixels() * s.y_pitch + first_output + cluster_rank() * kClusterFinished;
  const int finished = s.o - first_output - cluster_rank() * kClusterFinished;  // or fewer: of the last outputs
  for (int i = thread; i < s.pixels() * kClusterFinished; i += kClusterThreads) {
    if (i % kClusterFinished < finished) y[i / kClusterFinished * s.y_pitch + i % kClusterFinished] = out[i];
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
  const auto run = [&](auto kernel, const auto& layout) {
    launch(kernel, Launch(blocks, kClusterThreads, layout.shared_bytes()).in_clusters(kClusterBlocks).overlapping(),
           x.data<bf16>(), weights, s, layout, norm, y.data<bf16>());
  };
  products_of(s) == 1 ? run(conv_cluster_kernel<1>, ClusterLayout<1>(s))
                      : run(conv_cluster_kernel<2>, ClusterLayout<2>(s));
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
         (products_of(s) == 1 ? ClusterLayout<1>(s).shared_bytes() : ClusterLayout<2>(s).shared_bytes()) + 1024 <= card().shared_bytes;
}

}  // namespace

void add_conv2d_instance_norm_cluster() {
  kernels::conv2d_instance_norm.add(Device::cuda, "cluster_bf16", run_cluster, takes_cluster,
                                    {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
