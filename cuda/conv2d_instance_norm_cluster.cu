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
constexpr int kSliceChannels = 64,
              kSliceChunks = kSliceChannels / 8;  // a step multiplies one tap of a slice of channels

// What follows from the layer's sizes.
struct ClusterWindow {
  int width;        // pixels of a row of the window
  int chunk_bytes;  // from one chunk of channels to the next
  int slices;       // of a block's channels: 1 or 2
  ClusterWindow(const ChannelsLastSizes& s) : width(s.ow + s.kh - 1), slices(s.c / kClusterBlocks / kSliceChannels) {
    const int bytes = (kClusterRows + s.kh - 1) * width * kChunkBytes;
    chunk_bytes = (bytes + 127) / 128 * 128 + kChunkBytes;  // neighbouring chunks of a pixel fall on different banks
  }
  __host__ __device__ __forceinline__ int bytes() const { return slices * kSliceChunks * chunk_bytes; }
};

// kProducts: of each warpgroup; pictures are at most 16 kProducts columns wide. As many stages as shared memory has room for.
template <int kProducts>
constexpr int kClusterStages = kProducts == 1 ? 12 : 7;
template <int kProducts>
constexpr int kClusterPixels = kClusterGroups* kProducts* kClusterProduct;
template <int kProducts>
constexpr int kClusterPitch = kClusterPixels<kProducts> + 4;  // of sums: the lanes of a store meet no bank twice

template <int kProducts>
size_t cluster_shared_bytes(const ChannelsLastSizes& s) {
  constexpr size_t kBehind = 256;  // columns that are not there are read as well, behind the last row
  const size_t operands = size_t{kClusterStages<kProducts>} * kClusterStageBytes + ClusterWindow(s).bytes() + kBehind;
  const size_t sums = size_t{kClusterOutputs} * kClusterPitch<kProducts> * sizeof(float);
  return std::max(operands, sums + kClusterFinished * kClusterPixels<kProducts> * sizeof(bf16));
}

// The block's weights, in the order of its steps: all taps of a slice, then those of the next. A thread copies the chunk
// `thread % 8` of row `thread / 8` of a step, 64 of them that of row 64 + thread / 8 too.
class ClusterWeights {
 public:
  __device__ __forceinline__ ClusterWeights(const bf16* w, const ChannelsLastSizes& s, int first_output,
                                            int first_channel)
      : tap_bytes_(s.w_pitch * 2), taps_(s.kh * s.kh) {
    const int thread = static_cast<int>(threadIdx.x), row = thread / kStepChunks;
    rows_ = min(kClusterOutputs, s.o - first_output);
    row_bytes_ = int64_t{taps_} * tap_bytes_;
    from_ = reinterpret_cast<const char*>(w) + (first_output + min(row, rows_ - 1)) * row_bytes_ + first_channel * 2;
    to_ = swizzled(row, thread % kStepChunks);
  }

  // Asks for all of them to be brought to the second-level cache, 128 bytes at a time.
  __device__ __forceinline__ void prefetch(int slices) const {
    const int thread = static_cast<int>(threadIdx.x);
    for (int row = thread / kStepChunks; row < rows_; row += kClusterThreads / kStepChunks) {
      const char* from = from_ + (row - thread / kStepChunks) * row_bytes_;
      for (int i = thread % kStepChunks; i < taps_ * slices; i += kStepChunks) {
        prefetch_to_cache(from + (slices == 1 ? i : i >> 1) * tap_bytes_ + (slices == 1 ? 0 : i & 1) * kStepBytes);
      }
    }
  }

  // Starts the copies of the next step.
  __device__ __forceinline__ void copy_next(char* stage) {
    constexpr int kRows = kClusterThreads / kStepChunks;  // at a time
    const int thread = static_cast<int>(threadIdx.x), row = thread / kStepChunks;
    const char* from = from_ + offset_ + thread % kStepChunks * kChunkBytes;
    copy_async<kChunkBytes>(stage + to_, from, row < rows_);
    if (row < kClusterOutputs - kRows) {
      const bool valid = row + kRows < rows_;
      copy_async<kChunkBytes>(stage + to_ + kRows * kStepBytes, valid ? from + kRows * row_bytes_ : from, valid);
    }
    offset_ += tap_bytes_;
    if (++tap_ == taps_) {
      tap_ = 0;
      offset_ += kStepBytes - row_bytes_;
    }
  }

 private:
  const char* from_;
  int64_t row_bytes_, offset_ = 0;
  int tap_bytes_, taps_, rows_, to_, tap_ = 0;
};

// Starts the copies of one slice of the window, [chunk][pixel]: a warp takes a row, 4 pixels at a time.
__device__ __forceinline__ void copy_window(const bf16* x, const ChannelsLastSizes& s, const ClusterWindow& window,
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

// Blocks (pieces of K, tiles of outputs, pictures), a cluster along x.
template <int kProducts>
__global__ void __launch_bounds__(kClusterThreads, 1)
    conv_cluster_kernel(const bf16* x, const bf16* w, ChannelsLastSizes s, ClusterWindow window, NormArguments norm,
                        bf16* y) {
  constexpr int kStages = kClusterStages<kProducts>, kAhead = kStages - 2;
  char* stages = aligned_shared<char>();
  char* pixels = stages + kStages * kClusterStageBytes;
  const int first_output = static_cast<int>(blockIdx.y) * kClusterOutputs, picture = static_cast<int>(blockIdx.z);
  const int first_channel = cluster_rank() * window.slices * kSliceChannels;
  const int steps = window.slices * s.kh * s.kh;
  ClusterWeights weights(w, s, first_output, first_channel);
  let_next_kernel_start();
  weights.prefetch(window.slices);
  wait_for_previous_kernel();
  // Groups of copies: kAhead steps of weights, both slices, then a step of weights for each step that is multiplied.
  for (int step = 0; step < kAhead; ++step) {
    if (step < steps) weights.copy_next(stages + step * kClusterStageBytes);
    copy_commit();
  }
  x += int64_t{picture} * s.h * s.w * s.x_pitch;
  for (int slice = 0; slice < 2; ++slice) {
    if (slice < window.slices) {
      copy_window(x, s, window, first_channel + slice * kSliceChannels,
                  pixels + slice * kSliceChunks * window.chunk_bytes);
    }
    copy_commit();
  }

  // Descriptors count in units of 16 bytes.
  const int group = static_cast<int>(threadIdx.x) / 128;
  const int corner = group % 2 * kClusterSide * window.width + group / 2 * kClusterSide;
  const int chunk_step = window.chunk_bytes / kChunkBytes;
  const uint64_t window_a = matrix_descriptor(pixels, window.chunk_bytes, window.width * kChunkBytes, false) + corner;
  const uint64_t stages_b = matrix_descriptor(stages, kChunkBytes, kSliceChunks * kStepBytes, true);
  float sums[kProducts][kClusterOutputs / 2];
  int stage = 0, free_stage = kAhead, slice = 0, tap_row = 0, tap_column = 0;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    step == 0 ? copy_wait<1>() : copy_wait<kAhead - 1>();
    fence_shared_for_async();
    __syncthreads();  // this step has arrived for all; all are done with the step before the last
    const uint64_t a = window_a + slice * kSliceChunks * chunk_step + tap_row * window.width + tap_column;
    const uint64_t b = stages_b + stage * (kClusterStageBytes / kChunkBytes);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < kStepParts; ++part) {
#pragma unroll
      for (int i = 0; i < kProducts; ++i) {
        warpgroup_multiply<kClusterOutputs>(sums[i], a + 2 * part * chunk_step + 2 * i * kClusterSide,
                                            b + part * (kPartBytes / kChunkBytes), step > 0 || part > 0);
      }
    }
    warpgroup_commit();
    if (step + kAhead < steps) weights.copy_next(stages + free_stage * kClusterStageBytes);
    copy_commit();
    warpgroup_wait<1>();
    stage = stage + 1 == kStages ? 0 : stage + 1;
    free_stage = free_stage + 1 == kStages ? 0 : free_stage + 1;
    if (++tap_column == s.kh) {
      tap_column = 0;
      if (++tap_row == s.kh) tap_row = 0, ++slice;
    }
  }
  if constexpr (kProducts == 1) warpgroup_wait<0>(sums[0]);
  if constexpr (kProducts == 2) warpgroup_wait<0>(sums[0], sums[1]);
  __syncthreads();  // nobody reads the operands any more: their place takes the sums
  auto* shared_sums = reinterpret_cast<float*>(stages);
  auto* out = reinterpret_cast<bf16*>(shared_sums + kClusterOutputs * kClusterPitch<kProducts>);
  store_sums<kProducts>(sums, shared_sums);
  cluster_barrier();
  if (static_cast<int>(threadIdx.x) < kClusterFinished * kWarp)
    finish_output<kProducts>(shared_sums, s, first_output, norm, out);
  cluster_arrive();  // done with the others' memory
  __syncthreads();
  y += int64_t{picture} * s.pixels() * s.y_pitch + first_output + cluster_rank() * kClusterFinished;
  const int finished = s.o - first_output - cluster_rank() * kClusterFinished;  // or fewer: of the last outputs
  for (int i = static_cast<int>(threadIdx.x); i < s.pixels() * kClusterFinished; i += kClusterThreads) {
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
  const bool one = products_of(s) == 1;
  const size_t shared_bytes = one ? cluster_shared_bytes<1>(s) : cluster_shared_bytes<2>(s);
  launch(one ? conv_cluster_kernel<1> : conv_cluster_kernel<2>,
         Launch(blocks, kClusterThreads, shared_bytes).in_clusters(kClusterBlocks).overlapping(), x.data<bf16>(),
         w.data<bf16>(), s, ClusterWindow(s), norm, y.data<bf16>());
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
         (products_of(s) == 1 ? cluster_shared_bytes<1>(s) : cluster_shared_bytes<2>(s)) + 1024 <= card().shared_bytes;
}

}  // namespace

void add_conv2d_instance_norm_cluster() {
  kernels::conv2d_instance_norm.add(Device::cuda, "cluster_bf16", run_cluster, takes_cluster,
                                    {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
