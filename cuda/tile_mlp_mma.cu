// The per-tile MLP in one kernel on tensor cores, operands in tf32 or bf16, sums in f32. A warp takes 32 pixels through all
// layers in registers: the sums of a layer (operand D of mma) are, activated and rounded in place, operand A of the next one,
// with the tile's weights (operand B) in shared memory in the order of pack_phi. Neither barrier nor shared memory between
// layers. Floors (facades 512): 7.7 GFLOP, 16 us in tf32, 8 us in bf16; x, phi and y 32 MB, 10 us; from labels 16 MB, 5 us.
// Next: tile_mlp_pack.cuh; mma.cuh, where the registers of the operands lie; tile_mlp_fused.cu, the same in f32.
#include "cuda/tile_mlp_pack.cuh"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

constexpr int kWarps = 4;             // of a block
constexpr int kBlocks = kHidden / 8;  // of 8 channels

// What differs between the formats. A lane has of each step of a product kColumns columns of operand A, in the rows g and g + 8.
template <PackFormat kFormat>
struct Operand;

template <>
struct Operand<PackFormat::tf32> {
  static constexpr int kSteps = kHidden / 8, kColumns = 2;
  static constexpr int kResident = 3;  // blocks of a multiprocessor: 168 registers a thread
  __device__ static __forceinline__ int column(int step, int j, int t) { return 8 * step + 2 * t + j; }
  __device__ static __forceinline__ void round(const float (&v)[2][kColumns], uint32_t (&a)[4]) {
    a[0] = to_tf32(v[0][0]), a[1] = to_tf32(v[1][0]), a[2] = to_tf32(v[0][1]), a[3] = to_tf32(v[1][1]);
  }
  __device__ static __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_tf32(d, a, b);
  }
};

template <>
struct Operand<PackFormat::bf16> {
  static constexpr int kSteps = kHidden / 16, kColumns = 4;
  static constexpr int kResident = 4;  // 128 registers a thread
  __device__ static __forceinline__ int column(int step, int j, int t) { return 16 * step + 2 * t + j % 2 + j / 2 * 8; }
  __device__ static __forceinline__ void round(const float (&v)[2][kColumns], uint32_t (&a)[4]) {
    a[0] = pack_bf16(v[0][0], v[0][1]), a[1] = pack_bf16(v[1][0], v[1][1]);
    a[2] = pack_bf16(v[0][2], v[0][3]), a[3] = pack_bf16(v[1][2], v[1][3]);
  }
  __device__ static __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(d, a, b);
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

// sums += A W for one step; w: the step's words.
template <PackFormat kFormat, int kCount>
__device__ __forceinline__ void multiply_step(const uint32_t (&a0)[4], const uint32_t (&a1)[4], const float* w,
                                              Sums<kCount>& sums) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < kCount; n += 2) {
    const uint4 words = reinterpret_cast<const uint4*>(w)[n / 2 * kWarp + lane];
    const uint32_t left[2] = {words.x, words.y}, right[2] = {words.z, words.w};
    Operand<kFormat>::multiply(sums.d[0][n], a0, left);
    Operand<kFormat>::multiply(sums.d[1][n], a1, left);
    Operand<kFormat>::multiply(sums.d[0][n + 1], a0, right);
    Operand<kFormat>::multiply(sums.d[1][n + 1], a1, right);
  }
}
constexpr int kStepWords = kBlocks / 2 * kWarp * 4;

// Operand A of a layer: 32 pixels x 64 channels.
template <PackFormat kFormat>
struct Activations {
  using Math = Operand<kFormat>;
  uint32_t a[2][Math::kSteps][4];

  // LeakyReLU of sums, which are the channels from block kFirst on.
  template <int kFirst, int kCount>
  __device__ __forceinline__ void activate(const Sums<kCount>& sums, float slope) {
    constexpr int kColumns = Math::kColumns;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int step = 0; step < kCount * 2 / kColumns; ++step) {
        float v[2][kColumns];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int j = 0; j < kColumns; ++j) {
            const float sum = sums.d[m][step * kColumns / 2 + j / 2][2 * half + j % 2];
            v[half][j] = sum > 0 ? sum : slope * sum;
          }
        }
        Math::round(v, a[m][kFirst * 2 / kColumns + step]);
      }
    }
  }

  // next = a layer's channels from block kFirst on, half of them: the sums of all would take too many registers. w: the
  // layer's weights, `steps` of them where they are not kSteps.
  template <int kFirst, bool kFull>
  __device__ __forceinline__ void half_layer(const float* packed, int steps, float slope, Activations& next) const {
    Sums<kBlocks / 2> sums(packed + 8 * kFirst);
#pragma unroll
    for (int step = 0; step < Math::kSteps; ++step) {
      if (kFull || step < steps) {
        multiply_step<kFormat>(a[0][step], a[1][step], packed + kHidden + step * kStepWords + kFirst / 2 * kWarp * 4,
                               sums);
      }
    }
    next.template activate<kFirst>(sums, slope);
  }
  template <bool kFull>
  __device__ __forceinline__ Activations layer(const float* packed, int steps, float slope) const {
    Activations next;
    half_layer<0, kFull>(packed, steps, slope, next);
    half_layer<kBlocks / 2, kFull>(packed, steps, slope, next);
    return next;
  }
};

// The four pixels of a lane: numbers g, g + 8, g + 16, g + 24 from q on, the tile's last one where it has no more.
struct FourPixels {
  int q[4];
  __device__ __forceinline__ FourPixels(int first, const TileMlpSizes& s) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      q[i] = min(first + static_cast<int>(threadIdx.x) % kWarp / 4 + 8 * i, s.side * s.side - 1);
  }
};

// cos and sin for each period, [2 log2(tile)][tile]: all values that positional inputs take.
__device__ __forceinline__ void fill_waves(const TileMlpSizes& s, float* waves) {
  for (int i = static_cast<int>(threadIdx.x); i < 2 * s.log_side * s.side; i += static_cast<int>(blockDim.x)) {
    const int wave = i >> s.log_side;
    waves[i] = positional_input(wave / 2 * 4 + wave % 2, i & (s.side - 1), s.side);
  }
}

// The value itself, of which the compiler knows nothing any more: what is computed from it is computed where it is used, and
// not once, outside of the loop over pixels, to wait in a register.
__device__ __forceinline__ int hidden_from_compiler(int value) {
#if !defined(ASAP_CUDA_EMULATE)
  asm volatile("" : "+r"(value));
#endif
  return value;
}

// Operand A of layer 0: one-hot planes as they are needed (0 and 1 are exact in either format), x's channels, then the
// positional ones.
template <PackFormat kFormat>
__device__ __forceinline__ Activations<kFormat> mlp_input(const MlpInput& input, int tile, int first,
                                                          const float* waves, const TileMlpSizes& s) {
  constexpr int kColumns = Operand<kFormat>::kColumns;
  const MlpTile place(hidden_from_compiler(tile), s);
  const FourPixels pixels(first, s);
  const float* x = input.channels(place.b, 0, s);
  int at[4], label[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    at[i] = place.pixel(pixels.q[i], s);
    label[i] = input.label(place.b, at[i], s);
  }
  Activations<kFormat> z;
  int t = hidden_from_compiler(static_cast<int>(threadIdx.x) % 4);
#pragma unroll
  for (int step = 0; step < Operand<kFormat>::kSteps; ++step) {
    float v[2][2][kColumns] = {};
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int c = Operand<kFormat>::column(step, j, t), k = c - s.channels;
      const float* wave = waves + ((k / 4 * 2 + k % 2) << s.log_side);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (c < s.classes) {
          v[i / 2][i % 2][j] = label[i] == c ? 1.0f : 0.0f;
        } else if (c < s.channels) {
          v[i / 2][i % 2][j] = x[(c - s.classes) * s.plane() + at[i]];
        } else if (c < s.inputs) {
          v[i / 2][i % 2][j] = wave[k % 4 < 2 ? pixels.q[i] & (s.side - 1) : pixels.q[i] >> s.log_side];
        }
      }
    }
    Operand<kFormat>::round(v[0], z.a[0][step]);
    Operand<kFormat>::round(v[1], z.a[1][step]);
  }
  return z;
}

// The last layer, 8 outputs: lane t of four has outputs 2t and 2t + 1.
template <PackFormat kFormat>
__device__ __forceinline__ void last_layer(const Activations<kFormat>& z, const float* packed, float (&y)[2][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float2 bias = *reinterpret_cast<const float2*>(packed + lane % 4 * 2);
#pragma unroll
  for (int m = 0; m < 2; ++m) y[m][0] = y[m][2] = bias.x, y[m][1] = y[m][3] = bias.y;
#pragma unroll
  for (int step = 0; step < Operand<kFormat>::kSteps; step += 2) {
    const uint4 words = reinterpret_cast<const uint4*>(packed + kOutputs)[step / 2 * kWarp + lane];
    const uint32_t upper[2] = {words.x, words.y}, lower[2] = {words.z, words.w};
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      Operand<kFormat>::multiply(y[m], z.a[m][step], upper);
      Operand<kFormat>::multiply(y[m], z.a[m][step + 1], lower);
    }
  }
}

// tanh and out: each lane fetches the outputs of one pixel, so that neighbouring lanes write neighbouring pixels.
__device__ __forceinline__ void write_outputs(const float (&y)[2][4], int tile, int first, const TileMlpSizes& s,
                                              const MlpOutput& out) {
  const MlpTile place(hidden_from_compiler(tile), s);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, q = first + lane;
#pragma unroll 1
  for (int pair = 0; 2 * pair < s.out; ++pair) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      float value = 0;
#pragma unroll
      for (int block = 0; block < 4; ++block) {  // of 8 pixels
        const float fetched = __shfl_sync(kAllLanes, y[block / 2][block % 2 * 2 + j], lane % 8 * 4 + pair);
        if (lane / 8 == block) value = fetched;
      }
      const int channel = 2 * pair + j;
      if (channel < s.out && q < s.side * s.side) out.write(place.b, channel, place.pixel(q, s), quick_tanh(value), s);
    }
  }
}

template <PackFormat kFormat>
__device__ __forceinline__ void mlp_of_32_pixels(const MlpInput& input, int tile, int first, const float* own,
                                                 const float* waves, const TileMlpSizes& s, const PackedMlp& packed,
                                                 const MlpOutput& out) {
  const int steps = (s.inputs + rows_of_step(kFormat) - 1) / rows_of_step(kFormat);
  Activations<kFormat> z =
      mlp_input<kFormat>(input, tile, first, waves, s).template layer<false>(own, steps, packed.slope);
#pragma unroll 1
  for (int l = 1; l + 1 < s.depth; ++l) z = z.template layer<true>(own + packed.offset(l), 0, packed.slope);
  float y[2][4];
  last_layer<kFormat>(z, own + packed.offset(s.depth - 1), y);
  write_outputs(y, tile, first, s, out);
}

// Block (tile, part); shared: packed weights, waves.
template <PackFormat kFormat>
__global__ void __launch_bounds__(kWarps* kWarp, Operand<kFormat>::kResident)
    fused_mma_kernel(MlpInput input, const float* weights, TileMlpSizes s, PackedMlp packed, int chunks, MlpOutput y) {
  float* own = dynamic_shared<float>();
  float* waves = own + packed.words;
  const int tile = static_cast<int>(blockIdx.x), warp = static_cast<int>(threadIdx.x) / kWarp;
  copy_packed(weights + static_cast<int64_t>(tile) * packed.words, packed.words, own);
  fill_waves(s, waves);
  copy_wait<0>();
  __syncthreads();
#pragma unroll 1
  for (int chunk = static_cast<int>(blockIdx.y) * kWarps + warp; chunk < chunks;
       chunk += static_cast<int>(gridDim.y) * kWarps) {
    mlp_of_32_pixels<kFormat>(input, tile, chunk * kWarp, own, waves, s, packed, y);
  }
}

size_t shared_bytes(const TileMlpSizes& s, const PackedMlp& packed) {
  return packed.bytes() + static_cast<size_t>(2 * s.log_side * s.side) * sizeof(float);
}

template <PackFormat kFormat>
void run(const MlpInput& input, const Tensor& phi, const TileMlpSizes& s, Tensor& y) {
  const PackedMlp packed(s, kFormat);
  const Tensor weights = pack_phi(phi, s, kFormat);
  const TileGrid grid(s, kWarps, Operand<kFormat>::kResident);
  launch(fused_mma_kernel<kFormat>, {grid.blocks(s), kWarps * kWarp, shared_bytes(s, packed)}, input,
         weights.data<float>(), s, packed, grid.chunks, MlpOutput(y));
}

template <PackFormat kFormat>
bool fits(const TileMlpSizes& s) {
  if (!precision_allows(kFormat == PackFormat::bf16 ? Precision::bf16 : Precision::tf32)) return false;
  return packs(s) && s.inputs <= kHidden && shared_bytes(s, PackedMlp(s, kFormat)) <= card().shared_bytes;
}

}  // namespace

void add_tile_mlp_mma() {
  add_tile_mlp_forward("fused_bf16", run<PackFormat::bf16>, fits<PackFormat::bf16>);
  add_tile_mlp_forward("fused_tf32", run<PackFormat::tf32>, fits<PackFormat::tf32>);
}

}  // namespace asap::cuda
