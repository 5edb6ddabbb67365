// The per-tile MLP in one kernel, with operands in f32 (FMA), tf32 or bf16 (tensor cores) and sums in f32. A warp takes 32 pixels
// through all layers in registers: the sums of a layer (operand D of mma) are, activated and rounded in place, operand A of the
// next one, with the tile's weights (operand B) in shared memory in the order in which lanes read them. Neither barrier nor
// shared memory between layers. Floors (facades 512): 7.7 GFLOP, 0.11 ms in f32, 16 us in tf32, 8 us in bf16; x, phi and y
// 32 MB, 10 us; from labels 16 MB, 5 us.
// Next: mma.cuh, where the registers of the operands lie; tile_mlp_wgmma.cu, the same on compute capability 9.0.
#include "cuda/tile_mlp.cuh"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

constexpr int kWarps = 4;             // of a block
constexpr int kBlocks = kHidden / 8;  // of 8 channels

// What differs between the precisions. A step of a product takes kDepth channels; of these a lane has 2 of each 8 of operand A,
// 2t and 2t + 1, in the rows g and g + 8 (two numbers v[row][number] a register in bf16), and registers 0 and 1 of a block of
// 8 columns of operand B, made of elements w.weight(row, column).
template <Precision kPrecision>
struct Operands;

template <>
struct Operands<Precision::tf32> {
  static constexpr int kDepth = 8;
  static constexpr int kResident = 2;  // blocks of a multiprocessor: up to 255 registers a thread
  __device__ static __forceinline__ void round(const float (&v)[2][2], uint32_t (&a)[4]) {
    a[0] = to_tf32(v[0][0]), a[1] = to_tf32(v[1][0]), a[2] = to_tf32(v[0][1]), a[3] = to_tf32(v[1][1]);
  }
  template <class Numbers>
  __device__ static __forceinline__ uint32_t b(const Numbers& w, int step, int block, int lane, int i) {
    return to_tf32(w.weight(8 * step + 2 * (lane % 4) + i, 8 * block + lane / 4));
  }
  __device__ static __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_tf32(d, a, b);
  }
};

template <>
struct Operands<Precision::bf16> {
  static constexpr int kDepth = 16;
  static constexpr int kResident = 4;  // 128 registers a thread
  __device__ static __forceinline__ void round(const float (&v)[2][4], uint32_t (&a)[4]) {
    a[0] = pack_bf16(v[0][0], v[0][1]), a[1] = pack_bf16(v[1][0], v[1][1]);
    a[2] = pack_bf16(v[0][2], v[0][3]), a[3] = pack_bf16(v[1][2], v[1][3]);
  }
  template <class Numbers>
  __device__ static __forceinline__ uint32_t b(const Numbers& w, int step, int block, int lane, int i) {
    const int row = 16 * step + 2 * (lane % 4) + 8 * i, column = 8 * block + lane / 4;
    return pack_bf16(w.weight(row, column), w.weight(row + 1, column));
  }
  __device__ static __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(d, a, b);
  }
};

// Operand A as in tf32, but not rounded; of operand B lane (g, t) keeps row g, in the columns that lane t has of D.
template <>
struct Operands<Precision::f32> {
  static constexpr int kDepth = 8, kResident = 2;
  __device__ static __forceinline__ void round(const float (&v)[2][2], uint32_t (&a)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) a[i] = __float_as_uint(v[i % 2][i / 2]);
  }
  template <class Numbers>
  __device__ static __forceinline__ uint32_t b(const Numbers& w, int step, int block, int lane, int i) {
    return __float_as_uint(w.weight(8 * step + lane / 4, 8 * block + 2 * (lane % 4) + i));
  }
};

// A lane's part of 32 pixels x 8 kCount channels: two blocks of 16 pixels, kCount of 8 channels.
template <int kCount>
struct Sums {
  float d[2][kCount][4];

  __device__ __forceinline__ explicit Sums(const float* bias) {
    const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      const float2 two = *reinterpret_cast<const float2*>(bias + 8 * n + 2 * t);
#pragma unroll
      for (int m = 0; m < 2; ++m) d[m][n][0] = d[m][n][2] = two.x, d[m][n][1] = d[m][n][3] = two.y;
    }
  }
};

// Operand A of one step: 32 pixels, registers as in mma.cuh.
using StepA = uint32_t[2][4];

// Operand B lies by pairs of blocks of columns, four words a lane: one load of 16 bytes for both.
constexpr int kPairWords = 4 * kWarp;
constexpr int pairs_of(int blocks) { return (blocks + 1) / 2; }

// sums += A W for one step; w: the step's words.
template <Precision kPrecision, int kCount>
__device__ __forceinline__ void multiply_step(const StepA& a, const float* w, Sums<kCount>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if constexpr (kPrecision == Precision::f32) {
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      float value[4];  // of pixels g, g + 8, g + 16, g + 24
#pragma unroll
      for (int i = 0; i < 4; ++i)
        value[i] = __uint_as_float(__shfl_sync(kAllLanes, a[i / 2][k % 2 * 2 + i % 2], (lane & ~3) + k / 2));
#pragma unroll
      for (int n = 0; n < kCount; ++n) {
        const float* row = w + n / 2 * kPairWords + (4 * k + lane % 4) * 4 + n % 2 * 2;
        const float2 two = *reinterpret_cast<const float2*>(row);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float(&d)[4] = sums.d[i / 2][n];
          d[i % 2 * 2] += value[i] * two.x, d[i % 2 * 2 + 1] += value[i] * two.y;
        }
      }
    }
  } else {
#pragma unroll
    for (int n = 0; n < kCount; n += 2) {
      const uint4 words = reinterpret_cast<const uint4*>(w + n / 2 * kPairWords)[lane];
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        Operands<kPrecision>::multiply(sums.d[m][n], a[m], {words.x, words.y});
        if (n + 1 < kCount) Operands<kPrecision>::multiply(sums.d[m][n + 1], a[m], {words.z, words.w});
      }
    }
  }
}

// What lies in shared memory, in words: each layer its bias in f32, then its weights step by step; then the waves.
template <Precision kPrecision>
struct SharedMlp {
  static constexpr int kDepth = Operands<kPrecision>::kDepth, kSteps = kHidden / kDepth;
  static constexpr int kStepWords = pairs_of(kBlocks) * kPairWords;  // of a layer but the last
  int first_steps, depth;

  __host__ __device__ explicit SharedMlp(const TileMlpSizes& s)
      : first_steps((s.inputs + kDepth - 1) / kDepth), depth(s.depth) {}
  __host__ __device__ int layer(int l) const {
    return l == 0 ? 0 : l * kHidden + (first_steps + (l - 1) * kSteps) * kStepWords;
  }
  __host__ __device__ int waves() const { return layer(depth - 1) + 2 * kOutputs + kSteps * kPairWords; }
  size_t bytes(const TileMlpSizes& s) const {
    return static_cast<size_t>(waves() + 2 * s.log_side * s.side) * sizeof(float);
  }
};

// A layer of kCount blocks of 8 outputs: bias and weights.
template <Precision kPrecision, int kCount, class Weight>
__device__ __forceinline__ void load_layer(const LayerNumbers<Weight>& from, int steps, float* to) {
  constexpr int kPairs = pairs_of(kCount);
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < 16 * kPairs) to[thread] = from.bias(thread);
  auto* words = reinterpret_cast<uint4*>(to + 16 * kPairs);
#pragma unroll 4
  for (int i = thread; i < steps * kPairs * kWarp; i += kWarps * kWarp) {
    const int lane = i % kWarp, pair = i / kWarp % kPairs, step = i / kWarp / kPairs;
    const auto word = [&](int j) { return Operands<kPrecision>::b(from, step, 2 * pair + j / 2, lane, j % 2); };
    words[i] = make_uint4(word(0), word(1), word(2), word(3));
  }
}

// cos and sin for each period, [2 log2(tile)][tile]: all values that positional inputs take.
__device__ __forceinline__ void fill_waves(const TileMlpSizes& s, float* waves) {
  for (int i = static_cast<int>(threadIdx.x); i < 2 * s.log_side * s.side; i += static_cast<int>(blockDim.x)) {
    const int wave = i >> s.log_side;
    waves[i] = positional_input(wave / 2 * 4 + wave % 2, i & (s.side - 1), s.side);
  }
}

// LeakyReLU of a layer's sums, rounded: operand A of the next layer.
template <Precision kPrecision>
__device__ __forceinline__ void activate(const Sums<kBlocks>& sums, float slope,
                                         StepA (&z)[SharedMlp<kPrecision>::kSteps]) {
  constexpr int kColumns = Operands<kPrecision>::kDepth / 4;
#pragma unroll
  for (int i = 0; i < 2 * SharedMlp<kPrecision>::kSteps; ++i) {
    const int step = i / 2, m = i % 2;
    float v[2][kColumns];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const float sum = sums.d[m][step * kColumns / 2 + j / 2][2 * half + j % 2];
        v[half][j] = sum > 0 ? sum : slope * sum;
      }
    }
    Operands<kPrecision>::round(v, z[step][m]);
  }
}

// z of the next layer from z of this one.
template <Precision kPrecision>
__device__ __forceinline__ void hidden_layer(const float* layer, float slope, StepA (&z)[SharedMlp<kPrecision>::kSteps]) {
  Sums<kBlocks> sums(layer);
#pragma unroll
  for (int step = 0; step < SharedMlp<kPrecision>::kSteps; ++step) {
    __syncwarp();  // the compiler would fetch the operands of later steps into registers that are not there
    multiply_step<kPrecision>(z[step], layer + kHidden + step * SharedMlp<kPrecision>::kStepWords, sums);
  }
  activate<kPrecision>(sums, slope, z);
}

// Layer 0 of the tile's 32 pixels from number `first` on (its last one where it has no more). Its operand A is made step by step:
// one-hot planes as they are needed (0 and 1 are exact in any format), x's channels, then the positional ones.
template <Precision kPrecision>
__device__ __forceinline__ void first_layer(const MlpInput& input, const MlpTile& place, int first, int steps,
                                            const float* own, const float* waves, const TileMlpSizes& s,
                                            Sums<kBlocks>& sums) {
  constexpr int kDepth = Operands<kPrecision>::kDepth, kColumns = kDepth / 4;
  const int g = static_cast<int>(threadIdx.x) % kWarp / 4, t = static_cast<int>(threadIdx.x) % 4;
  const auto number = [&](int i) {  // of the lane's pixels g, g + 8, g + 16, g + 24 in the tile
    return min(first + g + 8 * i, s.side * s.side - 1);
  };
  int label[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) label[i] = input.label(place.b, place.pixel(number(i), s), s);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    float v[2][2][kColumns] = {};
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int c = kDepth * step + 2 * t + j % 2 + j / 2 * 8, k = c - s.channels;
      const float* wave = waves + ((k / 4 * 2 + k % 2) << s.log_side);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (c < s.classes) {
          v[i / 2][i % 2][j] = label[i] == c ? 1.0f : 0.0f;
        } else if (c < s.channels) {
          v[i / 2][i % 2][j] = input.channels(place.b, place.pixel(number(i), s), s)[(c - s.classes) * s.plane()];
        } else if (c < s.inputs) {
          v[i / 2][i % 2][j] = wave[k % 4 < 2 ? number(i) & (s.side - 1) : number(i) >> s.log_side];
        }
      }
    }
    StepA a;
    Operands<kPrecision>::round(v[0], a[0]);
    Operands<kPrecision>::round(v[1], a[1]);
    multiply_step<kPrecision>(a, own + step * SharedMlp<kPrecision>::kStepWords, sums);
  }
}

// tanh and out: each lane fetches the outputs of one pixel, so that neighbouring lanes write neighbouring pixels.
template <Precision kPrecision>
__device__ __forceinline__ void write_outputs(const Sums<1>& y, const MlpTile& place, int first, const TileMlpSizes& s,
                                              const MlpOutput& out) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, q = first + lane;
#pragma unroll 1
  for (int pair = 0; 2 * pair < s.out; ++pair) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float value = 0;
#pragma unroll
      for (int block = 0; block < 4; ++block) {  // of 8 pixels
        const float fetched = __shfl_sync(kAllLanes, y.d[block / 2][0][block % 2 * 2 + j], lane % 8 * 4 + pair);
        if (lane / 8 == block) value = fetched;
      }
      value = kPrecision == Precision::f32 ? tanhf(value) : quick_tanh(value);
      const int channel = 2 * pair + j;
      if (channel < s.out && q < s.side * s.side) out.write(place.b, channel, place.pixel(q, s), value, s);
    }
  }
}

// Block (tile, part); phi: tiles `pitch` apart. A warp takes chunks of 32 pixels.
template <Precision kPrecision, class Weight>
__global__ void __launch_bounds__(kWarps* kWarp, Operands<kPrecision>::kResident)
    fused_kernel(MlpInput input, const Weight* phi, int64_t pitch, TileMlpSizes s, int chunks, MlpOutput y) {
  using Shared = SharedMlp<kPrecision>;
  float* own = dynamic_shared<float>();
  const Shared shared(s);
  const int tile = static_cast<int>(blockIdx.x), warp = static_cast<int>(threadIdx.x) / kWarp, last = s.depth - 1;
  const float slope = static_cast<float>(s.slope);
  for (int l = 0; l < last; ++l) {
    const int steps = l == 0 ? shared.first_steps : Shared::kSteps;
    load_layer<kPrecision, kBlocks>(LayerNumbers<Weight>{phi + tile * pitch, s.layer(l)}, steps, own + shared.layer(l));
  }
  load_layer<kPrecision, 1>(LayerNumbers<Weight>{phi + tile * pitch, s.layer(last)}, Shared::kSteps,
                            own + shared.layer(last));
  fill_waves(s, own + shared.waves());
  __syncthreads();
  const MlpTile place(tile, s);
#pragma unroll 1
  for (int chunk = static_cast<int>(blockIdx.y) * kWarps + warp; chunk < chunks;
       chunk += static_cast<int>(gridDim.y) * kWarps) {
    StepA z[Shared::kSteps];
    {
      Sums<kBlocks> sums(own);
      first_layer<kPrecision>(input, place, chunk * kWarp, shared.first_steps, own + kHidden, own + shared.waves(), s,
                              sums);
      activate<kPrecision>(sums, slope, z);
    }
#pragma unroll 1
    for (int l = 1; l < last; ++l) hidden_layer<kPrecision>(own + shared.layer(l), slope, z);
    const float* layer = own + shared.layer(last);
    Sums<1> outputs(layer);
#pragma unroll
    for (int step = 0; step < Shared::kSteps; ++step)
      multiply_step<kPrecision>(z[step], layer + 2 * kOutputs + step * kPairWords, outputs);
    write_outputs<kPrecision>(outputs, place, chunk * kWarp, s, y);
  }
}

// Blocks (tile, part), so that one wave of them fills the card.
template <Precision kPrecision>
void run(const MlpInput& input, const Tensor& phi, const TileMlpSizes& s, Tensor& y) {
  const int chunks = static_cast<int>(ceil_div(s.side * s.side, kWarp)), tiles = s.batch * s.cells;
  const int room = Operands<kPrecision>::kResident * card().multiprocessors;
  const int parts = std::clamp(room / tiles, 1, static_cast<int>(ceil_div(chunks, kWarps)));
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(parts));
  with_tiles(phi, [&]<class Weight>(const Weight* numbers, int64_t pitch) {
    launch(fused_kernel<kPrecision, Weight>, {blocks, kWarps * kWarp, SharedMlp<kPrecision>(s).bytes(s)}, input, numbers,
           pitch, s, chunks, MlpOutput(y));
  });
}

template <Precision kPrecision>
bool fits(const TileMlpSizes& s) {
  return precision_allows(kPrecision) && has_fused_sizes(s) && SharedMlp<kPrecision>(s).bytes(s) <= card().shared_bytes;
}

}  // namespace

void add_tile_mlp_fused() {
  add_tile_mlp_forward("fused_bf16", run<Precision::bf16>, fits<Precision::bf16>);
  add_tile_mlp_forward("fused_tf32", run<Precision::tf32>, fits<Precision::tf32>);
  add_tile_mlp_forward("fused", run<Precision::f32>, fits<Precision::f32>);
}

}  // namespace asap::cuda
