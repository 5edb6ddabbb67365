// The per-tile MLP in one kernel on the tensor cores of compute capability 9.0 (wgmma), operands in bf16, sums in f32. A
// warpgroup takes 64 pixels through all layers in registers: the sums of a layer, activated and rounded in place, are operand A of
// the next one. Operand B are the rows of the weights as they lie in phi, copied to swizzled rows of shared memory: phi in bf16
// and channels last is read as it is; any other is copied to that first.
// Costs (facades 512): 17,000 cycles of a multiprocessor's tensor cores, 9 us; about 590 instructions a thread for 64 pixels, 19,000
// of a scheduler beside them: six warpgroups on a multiprocessor, each at another place, keep both busy.
// Next: hopper.cuh, where operands lie; tile_mlp.cuh; tile_mlp_fused.cu, the same for all cards.
#include "cuda/hopper.cuh"
#include "cuda/tile_mlp.cuh"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

constexpr int kGroups = 3, kThreads = 128 * kGroups;  // warpgroups and threads of a block
constexpr int kResident = 2;                          // blocks of a multiprocessor: 80 registers a thread
constexpr int kPixels = 64;                           // that a warpgroup takes at a time
constexpr int kStep = 16, kSteps = kHidden / kStep;   // of a product
constexpr int kRowBytes = 2 * kHidden, kChunk = 16, kRowChunks = kRowBytes / kChunk;    // of a row of weights
constexpr int kPeriods = 6, kMostPlaces = 1 << kPeriods, kWavePitch = kMostPlaces + 8;  // of positional inputs

// What lies in shared memory, in bytes: the rows of all layers but the last, of the first one kStep * first_steps; the last
// layer's weights in the order of operand B of mma_bf16; biases in f32, kHidden a layer; waves.
struct SharedMlp {
  int last, bias, waves, end;
  __host__ __device__ SharedMlp(int depth, int first_steps)
      : last((kStep * first_steps + (depth - 2) * kHidden) * kRowBytes),
        bias(last + kHidden * kOutputs * 2),
        waves(bias + ((depth - 1) * kHidden + kOutputs) * 4),
        end(waves + kPeriods * kWavePitch * 4) {}
};

// Rounded cos and sin, a pair for each period (tile, tile / 2, ..) and place in the tile; zeros for periods below 2.
__device__ __forceinline__ void fill_waves(const TileMlpSizes& s, uint32_t* waves) {
  for (int i = static_cast<int>(threadIdx.x); i < kPeriods * kMostPlaces; i += kThreads) {
    const int k = i / kMostPlaces, place = i % kMostPlaces;
    waves[k * kWavePitch + place] =
        k < s.log_side ? pack_bf16(positional_input(4 * k, place, s.side), positional_input(4 * k + 1, place, s.side))
                       : 0;
  }
}

// phi: the tile's numbers, in which a layer's bias and the rows of its weights follow each other. Positional inputs are moved to
// the front of layer 0. Done after copy_wait<0>(), fence_shared_for_async() and a barrier.
template <int kFirstSteps>
__device__ __forceinline__ void load_tile(const bf16* phi, const TileMlpSizes& s, const SharedMlp& at, char* shared) {
  const int thread = static_cast<int>(threadIdx.x), rows = 1 + s.inputs + (s.depth - 2) * (1 + kHidden);
  for (int i = thread; i < rows * kRowChunks; i += kThreads) {
    const int row = i / kRowChunks, chunk = i % kRowChunks, behind_first = row - 1 - s.inputs;
    int to = -1;  // row in shared memory; biases are no rows
    if (behind_first >= 0) {
      const int k = behind_first % (1 + kHidden) - 1;
      if (k >= 0) to = kStep * kFirstSteps + behind_first / (1 + kHidden) * kHidden + k;
    } else if (row > 0) {
      to = row - 1 < s.channels ? row - 1 + 4 * s.log_side : row - 1 - s.channels;
    }
    if (to >= 0)
      copy_async<kChunk>(shared + to * kRowBytes + (chunk ^ to % 8) * kChunk, phi + row * kHidden + chunk * 8);
  }
  copy_commit();
  for (int i = s.inputs * kRowChunks + thread; i < kStep * kFirstSteps * kRowChunks; i += kThreads)
    reinterpret_cast<uint4*>(shared)[i] = {};
  for (int i = thread; i < (s.depth - 1) * kHidden + kOutputs; i += kThreads) {
    const TileMlpLayer layer = s.layer(i / kHidden);
    reinterpret_cast<float*>(shared + at.bias)[i] =
        i % kHidden < layer.out ? to_float(phi[layer.bias + i % kHidden]) : 0;
  }
  const TileMlpLayer layer = s.layer(s.depth - 1);
  for (int i = thread; i < kHidden * kOutputs / 2; i += kThreads) {  // words, four side by side for a lane
    const int lane = i / 4 % kWarp, step = i / 4 / kWarp * 2 + i / 2 % 2;
    const int column = lane / 4, row = step * kStep + i % 2 * 8 + lane % 4 * 2;
    const bf16* two = phi + layer.weight + row * layer.out + column;
    reinterpret_cast<uint32_t*>(shared + at.last)[i] =
        column < layer.out ? uint32_t{two[0].bits} | uint32_t{two[layer.out].bits} << 16 : 0;
  }
}

// A lane's pixels q and q + 8, which are rows of its warp's operand A; the tile's last one where it has no more.
struct TwoPixels {
  int q[2];
  __device__ __forceinline__ TwoPixels(int first, const TileMlpSizes& s) {
#pragma unroll
    for (int i = 0; i < 2; ++i) q[i] = min(first + 8 * i, s.side * s.side - 1);
  }
};

// Operand A of a layer: register r of a step is the pair of columns kStep step + 8 (r / 2) + 2t of pixel r % 2.
template <int kCount>
using Operand = uint32_t[kCount][4];

// `value` moved up by so many bits, 0 where they are not 0 .. 31.
__device__ __forceinline__ uint32_t shifted(uint32_t value, int bits) {
#if defined(ASAP_CUDA_EMULATE)
  return bits >= 0 && bits < 32 ? value << bits : 0;
#else
  uint32_t result;
  asm("shl.b32 %0, %1, %2;" : "=r"(result) : "r"(value), "r"(bits));
  return result;
#endif
}
// Writes numbers to one column of each of the two pixels, counted from the lane's first one: low[i] is a bf16, the column's.
template <int kCount>
__device__ __forceinline__ void set_column(const uint32_t (&low)[2], const int (&column)[2], Operand<kCount>& z) {
#pragma unroll
  for (int step = 0; step < kCount; ++step) {
#pragma unroll
    for (int r = 0; r < 4; ++r)
      z[step][r] |= shifted(low[r % 2], 16 * column[r % 2] - 16 * (kStep * step + 8 * (r / 2)));
  }
}

// The classes of the two pixels: loaded well before they are used.
struct TwoLabels {
  int label[2];
  __device__ __forceinline__ TwoLabels(const MlpInput& input, const MlpTile& place, const TwoPixels& own,
                                       const TileMlpSizes& s)
      : label{input.label(place.b, place.pixel(own.q[0], s), s), input.label(place.b, place.pixel(own.q[1], s), s)} {}
};

// x's channels; `first`: the column of the first one, counted from the lane's first column.
template <int kCount>
__device__ __forceinline__ void add_picture(const MlpInput& input, const MlpTile& place, const TwoPixels& own,
                                            int first, const TileMlpSizes& s, Operand<kCount>& z) {
  const float* const x[2] = {input.channels(place.b, place.pixel(own.q[0], s), s),
                             input.channels(place.b, place.pixel(own.q[1], s), s)};
#pragma unroll
  for (int step = 0; step < kCount; ++step) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int c = kStep * step + 8 * (r / 2) - first;
      const auto value = [&](int channel) {
        return channel >= 0 && channel < s.x_channels() ? x[r % 2][channel * s.plane()] : 0.0f;
      };
      z[step][r] |= pack_bf16(value(c), value(c + 1));
    }
  }
}

// Operand A of layer 0: cos X, sin X, cos Y, sin Y of each period, so that a lane has pairs of X or of Y; then one-hot
// planes as they are needed, then x's channels.
template <int kCount>
__device__ __forceinline__ void first_operand(const MlpInput& input, const TwoLabels& labels, const MlpTile& place,
                                              const TwoPixels& own, const uint32_t* waves, const TileMlpSizes& s,
                                              Operand<kCount>& z) {
  const int t = fresh_thread() % 4;
  waves += t / 2 * kWavePitch;
  int at[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) at[i] = t % 2 == 0 ? own.q[i] & (s.side - 1) : own.q[i] >> s.log_side;
#pragma unroll
  for (int step = 0; step < kCount; ++step) {
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const int period = 4 * step + r / 2 * 2;  // and t / 2 more
      z[step][r] = period < kPeriods ? waves[period * kWavePitch + at[r % 2]] : 0;
    }
  }
  const int first = 4 * s.log_side - 2 * t;  // column of channel 0, counted from the lane's first one
  if (s.classes > 0) {
    constexpr uint32_t kOne = 0x3F80;
    constexpr int kNone = 1 << 20;
    const auto column = [&](int i) { return labels.label[i] < s.classes ? first + labels.label[i] : kNone; };
    set_column<kCount>({kOne, kOne}, {column(0), column(1)}, z);
  }
  if (input.x) add_picture<kCount>(input, place, own, first + s.classes, s, z);
}

// z of the next layer from z of this one; `rows` describes the layer's weights.
template <int kCount>
__device__ __forceinline__ void hidden_layer(Operand<kCount>& z, const float* bias, uint64_t rows, uint32_t slopes,
                                             Operand<kSteps>& next) {
  float sums[kHidden / 2];
#pragma unroll
  for (int n = 0; n < kHidden / 8; ++n) {
    const float2 two = *reinterpret_cast<const float2*>(bias + 8 * n + fresh_thread() % 4 * 2);
    sums[4 * n] = sums[4 * n + 2] = two.x, sums[4 * n + 1] = sums[4 * n + 3] = two.y;
  }
  warpgroup_arrive();
#pragma unroll
  for (int step = 0; step < kCount; ++step)
    warpgroup_multiply_rows(sums, z[step], rows + step * kStep * kRowBytes / 16);
  warpgroup_commit();
  warpgroup_wait<0>(sums, z);
#pragma unroll
  for (int i = 0; i < kHidden / 4; ++i)
    next[i / 4][i % 4] = leaky_bf16(pack_bf16(sums[2 * i], sums[2 * i + 1]), slopes);
}

// tanh and out, a pair of channels of a pixel.
__device__ __forceinline__ void write_pair(float first, float second, int channel, int q, const MlpTile& place,
                                           const TileMlpSizes& s, const MlpOutput& y) {
  if (q >= s.side * s.side) return;
  const int pixel = place.pixel(q, s);
  if (channel < s.out) y.write(place.b, channel, pixel, quick_tanh(first), s);
  if (channel + 1 < s.out) y.write(place.b, channel + 1, pixel, quick_tanh(second), s);
}

// The last layer, kOutputs wide, on mma: lane t of four has outputs 2t and 2t + 1 of two pixels.
__device__ __forceinline__ void last_layer(const Operand<kSteps>& z, const float* bias, const uint4* weights, int q,
                                           const MlpTile& place, const TileMlpSizes& s, const MlpOutput& y) {
  const int lane = fresh_thread() % kWarp, t = lane % 4;
  const float2 two = *reinterpret_cast<const float2*>(bias + 2 * t);
  float d[4] = {two.x, two.y, two.x, two.y};
#pragma unroll
  for (int step = 0; step < kSteps; step += 2) {
    const uint4 words = weights[step / 2 * kWarp + lane];
    mma_bf16(d, z[step], {words.x, words.y});
    mma_bf16(d, z[step + 1], {words.z, words.w});
  }
  if (s.out <= 4) {  // lanes 2 and 3 of four have none: they take over the second pixel
    const float first = __shfl_sync(kAllLanes, d[2], lane & ~2), second = __shfl_sync(kAllLanes, d[3], lane & ~2);
    write_pair(t < 2 ? d[0] : first, t < 2 ? d[1] : second, t % 2 * 2, q + t / 2 * 8, place, s, y);
  } else {
    write_pair(d[0], d[1], 2 * t, q, place, s, y);
    write_pair(d[2], d[3], 2 * t, q + 8, place, s, y);
  }
}

// Block (column of tiles, row of tiles, picture and part). phi: tiles `tile_numbers` apart; s.hidden is kHidden. kFirstSteps: of layer 0.
template <int kFirstSteps>
__global__ void __launch_bounds__(kThreads, kResident)
    mlp_wgmma_kernel(MlpInput input, const bf16* phi, int64_t tile_numbers, TileMlpSizes s, int log_parts,
                     MlpOutput y) {
  char* shared = aligned_shared<char>();
  const SharedMlp at(s.depth, kFirstSteps);
  auto* waves = reinterpret_cast<uint32_t*>(shared + at.waves);
  const auto* bias = reinterpret_cast<const float*>(shared + at.bias);
  let_next_kernel_start();
  fill_waves(s, waves);
  wait_for_previous_kernel();
  const int b = static_cast<int>(blockIdx.z) >> log_parts, part = static_cast<int>(blockIdx.z) & ((1 << log_parts) - 1);
  const int row = static_cast<int>(blockIdx.y), column = static_cast<int>(blockIdx.x);
  load_tile<kFirstSteps>(phi + (b * s.cells + row * s.grid_w + column) * tile_numbers, s, at, shared);
  const MlpTile place(b, row, column, s);
  const int thread = static_cast<int>(threadIdx.x);
  int q = (part * kThreads + thread) / kWarp * 16 + thread % kWarp / 4;  // the lane's first pixel
  TwoLabels labels(input, place, TwoPixels(q, s), s);
  copy_wait<0>();
  fence_shared_for_async();
  __syncthreads();
  const float slope = static_cast<float>(s.slope);
  const uint32_t slopes = pack_bf16(slope, slope);
  const uint64_t rows = matrix_descriptor(shared, kChunk, 8 * kRowBytes, true);
#pragma unroll 1
  for (; q / kPixels * kPixels < s.side * s.side; q += kGroups * kPixels << log_parts) {
    Operand<kFirstSteps> input_z;
    first_operand<kFirstSteps>(input, labels, place, TwoPixels(q, s), waves, s, input_z);
    labels = TwoLabels(input, place, TwoPixels(q + (kGroups * kPixels << log_parts), s), s);
    Operand<kSteps> z;
    hidden_layer<kFirstSteps>(input_z, bias, rows, slopes, z);
#pragma unroll 1
    for (int l = 1; l + 1 < s.depth; ++l) {
      hidden_layer<kSteps>(z, bias + l * kHidden, rows + (kStep * kFirstSteps + (l - 1) * kHidden) * kRowBytes / 16,
                           slopes, z);
    }
    last_layer(z, bias + (s.depth - 1) * kHidden, reinterpret_cast<const uint4*>(shared + at.last), q, place, s, y);
  }
}

template <int kFirstSteps>
void run(const MlpInput& input, const bf16* phi, int64_t tile_numbers, const TileMlpSizes& s, Tensor& y) {
  const int tiles = s.batch * s.cells, room = kResident * card().multiprocessors;
  int log_parts = 0;
  while (tiles << (log_parts + 1) <= room && kGroups * kPixels << log_parts < s.side * s.side) ++log_parts;
  const dim3 blocks(static_cast<unsigned>(s.grid_w), static_cast<unsigned>(s.cells / s.grid_w),
                    static_cast<unsigned>(s.batch << log_parts));
  launch(mlp_wgmma_kernel<kFirstSteps>, Launch(blocks, kThreads, SharedMlp(s.depth, kFirstSteps).end).overlapping(),
         input, phi, tile_numbers, s, log_parts, MlpOutput(y));
}

int first_steps(const TileMlpSizes& s) { return s.inputs <= 3 * kStep ? 3 : 4; }

void run(const MlpInput& input, const Tensor& phi, const TileMlpSizes& s, Tensor& y) {
  const auto lies_in_chunks = [](const Tensor& t) {
    return t.dtype() == DType::bf16 && t.is_channels_last() && pixel_stride(t) % kPixelAlignment == 0 &&
           reinterpret_cast<uintptr_t>(t.raw()) % kChunk == 0;
  };
  Tensor tiles = phi;
  if (!lies_in_chunks(phi)) {
    tiles = Tensor::empty(phi.shape(), DType::bf16, Device::cuda, Layout::channels_last);
    kernels::copy.run(Device::cuda, phi, tiles);
  }
  const auto* numbers = tiles.data<bf16>();
  first_steps(s) == 3 ? run<3>(input, numbers, pixel_stride(tiles), s, y)
                      : run<4>(input, numbers, pixel_stride(tiles), s, y);
}

bool fits(const TileMlpSizes& s) {
  return card_has_wgmma() && precision_allows(Precision::bf16) && has_fused_sizes(s) && s.hidden == kHidden &&
         s.inputs <= kHidden &&
         s.log_side <= kPeriods && s.slope >= 0 && s.slope <= 1 &&
         static_cast<size_t>(SharedMlp(s.depth, first_steps(s)).end) <= card().shared_bytes;
}

}  // namespace

void add_tile_mlp_wgmma() { add_tile_mlp_forward("wgmma_bf16", run, fits); }

}  // namespace asap::cuda
