// The variant warpgroup_bf16 of conv_layer: a 1x1 convolution with bias on Hopper's wgmma (compute capability 9.0), the layer
// that makes phi. A plain matrix product y[pixel][output] = x[pixel][k] w[output][k] + bias, both operands along k: a block
// has 256 pixels x 128 outputs, 64 pixels for each of its four warpgroups, and steps through k 64 at a time in wgmma's 128-byte
// swizzle. Floor (facades 512): 30 MB of weights and 8 MB of phi, 9 us at 4.2 TB/s; 8 GFLOP, 8 us. Every block reads all of x
// from the second-level cache: 90 MB in all, which is what bounds it.
// Next: hopper.cuh; conv_layer_cluster.cuh, which does the layers before.
#include "cuda/conv_layer_tile.cuh"
#include "cuda/hopper.cuh"

namespace asap::cuda {
namespace {

constexpr int kPixels = 256, kOutputs = 128, kThreads = kPixels / 64 * 128;  // of a block
constexpr int kStages = 4, kAhead = kStages - 2;
constexpr int kPixelBytes = kPixels * kStepBytes, kStageBytes = kPixelBytes + kOutputs * kStepBytes;
constexpr int kRowsAtOnce = kThreads / kStepChunks;
constexpr int kPitch = kOutputs + 8;  // of results in shared memory, bf16: the lanes of a store meet no bank twice
constexpr size_t kSharedBytes = size_t{kStages} * kStageBytes;
static_assert(kSharedBytes >= kPixels * kPitch * sizeof(bf16));

// Chunk `thread % 8` of every 64th row of a matrix, a step of k after the other. Rows behind the last are zero.
template <int kRows>
class RowCopies {
 public:
  // from: the block's first row, of which there are `rows` at least one; row_bytes: from one to the next.
  __device__ __forceinline__ RowCopies(const bf16* from, int rows, int row_bytes)
      : rows_(rows - thread() / kStepChunks), row_bytes_(row_bytes) {
    from_ = reinterpret_cast<const char*>(from) + min(thread() / kStepChunks, rows - 1) * int64_t{row_bytes} +
            thread() % kStepChunks * kChunkBytes;
    to_ = swizzled(thread() / kStepChunks, thread() % kStepChunks);
  }
  __device__ __forceinline__ void copy_next(char* to) {
#pragma unroll
    for (int i = 0; i < kRows / kRowsAtOnce; ++i) {
      const bool valid = i * kRowsAtOnce < rows_;
      const char* from = valid ? from_ + int64_t{i * kRowsAtOnce} * row_bytes_ : from_;
      copy_async<kChunkBytes>(to + to_ + i * kRowsAtOnce * kStepBytes, from, valid);
    }
    from_ += kStepBytes;
  }
  // Asks for all rows to be brought to the second-level cache.
  __device__ __forceinline__ void prefetch() const {
    for (int i = 0; i < kRows && i < rows_; i += kRowsAtOnce) {
      const char* row = from_ + int64_t{i} * row_bytes_ - thread() % kStepChunks * kChunkBytes;
      for (int at = thread() % kStepChunks * kStepBytes; at < row_bytes_; at += kStepChunks * kStepBytes) {
        prefetch_to_cache(row + at);
      }
    }
  }

 private:
  __device__ static __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }
  const char* from_;
  int rows_, row_bytes_, to_;
};

// x [pixels][channels], w [outputs][channels], y [pixels][outputs]. Blocks (tiles of pixels, tiles of outputs).
__global__ void __launch_bounds__(kThreads, 1)
    phi_kernel(const bf16* x, const bf16* w, const float* bias, int pixels, int channels, int outputs, bf16* y) {
  char* stages = aligned_shared<char>();
  const int first_pixel = static_cast<int>(blockIdx.x) * kPixels, first_output = static_cast<int>(blockIdx.y) * kOutputs;
  const int pixels_here = min(kPixels, pixels - first_pixel), outputs_here = min(kOutputs, outputs - first_output);
  const int steps = channels / 64, row_bytes = channels * 2;
  RowCopies<kPixels> of_x(x + int64_t{first_pixel} * channels, pixels_here, row_bytes);
  RowCopies<kOutputs> of_w(w + int64_t{first_output} * channels, outputs_here, row_bytes);
  const auto load = [&](int stage) {
    of_x.copy_next(stages + stage * kStageBytes);
    of_w.copy_next(stages + stage * kStageBytes + kPixelBytes);
  };
  let_next_kernel_start();
  of_w.prefetch();
  wait_for_previous_kernel();
  for (int step = 0; step < kAhead; ++step) {
    if (step < steps) load(step);
    copy_commit();
  }
  const int thread = static_cast<int>(threadIdx.x), group = thread / 128;
  constexpr int kEightRows = 8 * kStepBytes;
  const uint64_t a = matrix_descriptor(stages + group * 64 * kStepBytes, kChunkBytes, kEightRows, true);
  const uint64_t b = matrix_descriptor(stages + kPixelBytes, kChunkBytes, kEightRows, true);
  float sums[kOutputs / 2];
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    copy_wait<kAhead - 1>();
    fence_shared_for_async();
    __syncthreads();  // this step has arrived for all; all are done with the step before the last
    const int stage = step % kStages * (kStageBytes / kChunkBytes);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < kStepParts; ++part) {
      const int at = stage + part * (kPartBytes / kChunkBytes);
      warpgroup_multiply<kOutputs>(sums, a + at, b + at, step > 0 || part > 0);
    }
    warpgroup_commit();
    if (step + kAhead < steps) load((step + kAhead) % kStages);
    copy_commit();
    warpgroup_wait<1>();
  }
  warpgroup_wait<0>(sums);
  __syncthreads();  // nobody reads the operands any more: their place takes the results

  const int lane = thread % kWarp, row = thread / kWarp * 16 + lane / 4;
  auto* results = reinterpret_cast<bf16*>(stages);
#pragma unroll
  for (int j = 0; j < kOutputs / 8; ++j) {
    const int column = 8 * j + lane % 4 * 2;
    const bool is_there = column < outputs_here;  // outputs come in pairs
    const float2 shift = is_there ? *reinterpret_cast<const float2*>(bias + first_output + column) : make_float2(0, 0);
    bf16* to = results + row * kPitch + column;
    *reinterpret_cast<uint32_t*>(to) = pack_bf16(sums[4 * j] + shift.x, sums[4 * j + 1] + shift.y);
    *reinterpret_cast<uint32_t*>(to + 8 * kPitch) = pack_bf16(sums[4 * j + 2] + shift.x, sums[4 * j + 3] + shift.y);
  }
  __syncthreads();
  constexpr int kEights = kOutputs / 8;  // of outputs: 16 bytes
  for (int i = thread; i < pixels_here * kEights; i += kThreads) {
    const int pixel = i / kEights, column = i % kEights * 8;
    if (column >= outputs_here) continue;
    *reinterpret_cast<uint4*>(y + int64_t{first_pixel + pixel} * outputs + first_output + column) =
        *reinterpret_cast<const uint4*>(results + pixel * kPitch + column);
  }
}

void conv_layer_phi(const Tensor& x, const Tensor& w, const Tensor&, const Tensor& bias, const ConvLayerParams&, Tensor& y) {
  const int64_t pixels = x.numel() / x.size(3), outputs = y.size(3);
  const dim3 blocks(static_cast<unsigned>(ceil_div(pixels, kPixels)), static_cast<unsigned>(ceil_div(outputs, kOutputs)));
  launch(phi_kernel, Launch(blocks, kThreads, kSharedBytes).overlapping(), x.data<bf16>(), w.data<bf16>(), bias.data<float>(),
         static_cast<int>(pixels), static_cast<int>(x.size(3)), static_cast<int>(outputs), y.data<bf16>());
}

bool takes_phi(const Tensor& x, const Tensor& w, const Tensor&, const Tensor& bias, const ConvLayerParams& p, Tensor& y) {
  if (!precision_allows(Precision::bf16) || p.layout != Layout::nhwc || p.norm || p.stride != 1 || p.pad != 0) return false;
  if (x.dtype() != DType::bf16 || w.dtype() != DType::bf16 || y.dtype() != DType::bf16 || !card_has_wgmma()) return false;
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % kChunkBytes == 0; };
  constexpr int64_t kGrid = 65535;
  return w.size(1) == 1 && x.size(3) % 64 == 0 && y.size(3) % 8 == 0 && y.size(3) <= kGrid * kOutputs &&
         x.numel() / x.size(3) <= INT32_MAX && aligned(x) && aligned(w) && aligned(y) && aligned(bias) &&
         kSharedBytes <= card().shared_bytes;
}

}  // namespace

void register_conv_layer_phi() { kernels::conv_layer.add(Device::cuda, "warpgroup_bf16", conv_layer_phi, takes_phi); }

}  // namespace asap::cuda
