// The per-tile MLP in one kernel, f32: a block holds its tile's weights in shared memory, each of its warps takes 32 pixels
// through all layers. Activations never leave the chip, and a warp waits for no other one once the weights are there.
// Floor (facades 512): 7.7 GFLOP, 0.11 ms at 67 TFLOP/s; x, phi and y together are 32 MB, 10 us.
// Next: tile_mlp_pack.cuh, how phi is packed; tile_mlp_mma.cu, the same on tensor cores.
#include "cuda/tile_mlp_pack.cuh"

namespace asap::cuda {
namespace {

constexpr int kMostWarps = 16;
constexpr int kLong = kHidden * kWarp;  // activations of a warp: kHidden channels of 32 pixels

// A lane's share of a layer: 8 pixels x 8 channels, that is, of 32 x 64. Lanes / 8 have the same pixels, lanes % 8 the same
// channels (4 from each half), so that 8 neighbouring lanes read 128 neighbouring bytes of weights and one of activations.
struct Share {
  int group = fresh_thread() % kWarp / 8, quad = fresh_thread() % 8;
  float sums[8][8];  // of pixels 8 group ..; channels 4 quad .. and 32 + 4 quad ..
};

__device__ __forceinline__ void load_eight(const float* low, const float* high, float (&to)[8]) {
  const float4 a = *reinterpret_cast<const float4*>(low), b = *reinterpret_cast<const float4*>(high);
  to[0] = a.x, to[1] = a.y, to[2] = a.z, to[3] = a.w, to[4] = b.x, to[5] = b.y, to[6] = b.z, to[7] = b.w;
}

// Activations [channel][32 pixels]; each channel's eight groups of 4 pixels change places by the channel's quad, so that the
// stores of a layer (lanes of one `quad` apart are 4 channels apart) meet different banks.
__device__ __forceinline__ int activation(int channel, int four) {
  return channel * kWarp + (four ^ (channel / 4 & 7)) * 4;
}

// sums += z W over the first `count` channels (a multiple of 4).
__device__ __forceinline__ void multiply(const float* z, const float* w, int count, Share& share) {
#pragma unroll 1
  for (int c = 0; c < count; c += 4) {
    const float* pixels = z + activation(c, 2 * share.group);
    const float* others = z + activation(c, 2 * share.group + 1);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      float a[8], b[8];
      load_eight(pixels + k * kWarp, others + k * kWarp, a);
      load_eight(w + (c + k) * kHidden + 4 * share.quad, w + (c + k) * kHidden + 4 * share.quad + 32, b);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int j = 0; j < 8; ++j) share.sums[i][j] += a[i] * b[j];
      }
    }
  }
}

// Half of the share's sums (4 pixels) through LeakyReLU to the warp's activations.
__device__ __forceinline__ void store_half(const Share& share, int half, float slope, float* z) {
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float sum = share.sums[4 * half + i][j];
      v[i] = sum > 0 ? sum : slope * sum;
    }
    const int channel = 4 * share.quad + j % 4 + j / 4 * 32;
    *reinterpret_cast<float4*>(z + activation(channel, 2 * share.group + half)) = make_float4(v[0], v[1], v[2], v[3]);
  }
}

// The positional inputs' part of layer 0 is the same for a tile's columns and rows: [2][tile][kHidden], by column with the
// bias, by row. Two additions a pixel and channel instead of 4 log2(tile) products.
__device__ __forceinline__ void positional_part(const float* packed, const TileMlpSizes& s, float* part) {
  for (int i = static_cast<int>(threadIdx.x); i < 2 * s.side * kHidden; i += static_cast<int>(blockDim.x)) {
    const int channel = i % kHidden, place = i / kHidden & (s.side - 1);
    const bool by_row = i >= s.side * kHidden;
    float sum = by_row ? 0.0f : packed[channel];
    for (int k = by_row ? 2 : 0; k < 4 * s.log_side; k += 4) {
      const float* w = packed + kHidden + (s.channels + k) * kHidden + channel;
      sum += positional_input(k, place, s.side) * w[0] + positional_input(k + 1, place, s.side) * w[kHidden];
    }
    part[i] = sum;
  }
}

__device__ __forceinline__ void add_row(const float* row, float factor, float (&sums)[8]) {
  float a[8];
  load_eight(row, row + 32, a);
#pragma unroll
  for (int j = 0; j < 8; ++j) sums[j] += factor * a[j];
}

// Layer 0 of the 32 pixels from number q of the tile on (its last one where it has no more), to z: the row of W that a class number names, x's part, bias and
// positional part.
__device__ __forceinline__ void first_layer(const MlpInput& input, const MlpTile& place, int q, const float* w,
                                            const float* part, const TileMlpSizes& s, float* z) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  Share share = {};
  const int pixel = place.pixel(min(q + lane, s.side * s.side - 1), s);
  const int channels = s.x_channels(), count = (channels + 3) & ~3;
  const float* x = input.channels(place.b, pixel, s);
#pragma unroll 4
  for (int c = 0; c < count; ++c) z[activation(c, lane / 4) + lane % 4] = c < channels ? x[c * s.plane()] : 0.0f;
  if (s.classes > 0) {
    const int label = input.label(place.b, pixel, s);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = __shfl_sync(kAllLanes, label, 8 * share.group + i);
      add_row(w + min(row, s.classes - 1) * kHidden + 4 * share.quad, row < s.classes ? 1.0f : 0.0f, share.sums[i]);
    }
  }
  __syncwarp();
  multiply(z, w + s.classes * kHidden, count, share);
  __syncwarp();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 4 * half; i < 4 * half + 4; ++i) {
      const int from = 8 * share.group + i, column = (q + from) & (s.side - 1),
                line = min((q + from) >> s.log_side, s.side - 1);
      add_row(part + column * kHidden + 4 * share.quad, 1.0f, share.sums[i]);
      add_row(part + (s.side + line) * kHidden + 4 * share.quad, 1.0f, share.sums[i]);
    }
    store_half(share, half, static_cast<float>(s.slope), z);
  }
}

__device__ __forceinline__ void hidden_layer(const float* packed, float slope, float* z) {
  Share share;
  float bias[8];
  load_eight(packed + 4 * share.quad, packed + 4 * share.quad + 32, bias);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) share.sums[i][j] = bias[j];
  }
  multiply(z, packed + kHidden, kHidden, share);
  __syncwarp();
  store_half(share, 0, slope, z);
  store_half(share, 1, slope, z);
}

// The last layer: a lane has a pixel.
__device__ __forceinline__ void last_layer(const float* z, const float* packed, int outputs, float (&y)[kOutputs]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) y[o] = packed[o];
  const float* w = packed + kOutputs;
#pragma unroll 4
  for (int c = 0; c < kHidden; ++c) {
    const float value = z[activation(c, lane / 4) + lane % 4];
    const float4 low = *reinterpret_cast<const float4*>(w + c * kOutputs);
    y[0] += value * low.x, y[1] += value * low.y, y[2] += value * low.z, y[3] += value * low.w;
    if (outputs > 4) {
      const float4 high = *reinterpret_cast<const float4*>(w + c * kOutputs + 4);
      y[4] += value * high.x, y[5] += value * high.y, y[6] += value * high.z, y[7] += value * high.w;
    }
  }
}

// Block (tile, part); shared: packed weights, positional part, activations of each warp.
__global__ void __launch_bounds__(kMostWarps* kWarp, 1)
    fused_kernel(MlpInput input, const float* weights, TileMlpSizes s, PackedMlp packed, int chunks, MlpOutput y) {
  float* own = dynamic_shared<float>();
  float* part = own + packed.words;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp, tile = static_cast<int>(blockIdx.x);
  float* z = part + 2 * s.side * kHidden + warp * kLong;
  copy_packed(weights + static_cast<int64_t>(tile) * packed.words, packed.words, own);
  copy_wait<0>();
  __syncthreads();
  positional_part(own, s, part);
  __syncthreads();

  const MlpTile place(tile, s);
  for (int chunk = static_cast<int>(blockIdx.y) * warps + warp; chunk < chunks;
       chunk += static_cast<int>(gridDim.y) * warps) {
    first_layer(input, place, chunk * kWarp, own + kHidden, part, s, z);
    __syncwarp();
    for (int l = 1; l + 1 < s.depth; ++l) {
      hidden_layer(own + packed.offset(l), static_cast<float>(s.slope), z);
      __syncwarp();
    }
    const int q = chunk * kWarp + lane;
    float values[kOutputs];
    last_layer(z, own + packed.offset(s.depth - 1), s.out, values);
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      if (o < s.out && q < s.side * s.side) y.write(place.b, o, place.pixel(q, s), tanhf(values[o]), s);
    }
    __syncwarp();
  }
}

size_t shared_bytes(const TileMlpSizes& s, const PackedMlp& packed, int warps) {
  return packed.bytes() + static_cast<size_t>(2 * s.side * kHidden + warps * kLong) * sizeof(float);
}
// 16 warps a block where a tile has pixels for them, else 4, of whose blocks two run side by side; fewer where the card has
// less shared memory, 0 where it has not enough for one.
int warps_for(const TileMlpSizes& s, const PackedMlp& packed) {
  int warps = s.side * s.side >= kMostWarps * kWarp ? kMostWarps : 4;
  while (warps > 0 && shared_bytes(s, packed, warps) > card().shared_bytes) warps /= 2;
  return warps;
}

void run(const MlpInput& input, const Tensor& phi, const TileMlpSizes& s, Tensor& y) {
  const PackedMlp packed(s, PackFormat::f32);
  const Tensor weights = pack_phi(phi, s, PackFormat::f32);
  const int warps = warps_for(s, packed);
  const TileGrid grid(s, warps, warps > 4 ? 1 : 2);
  launch(fused_kernel, {grid.blocks(s), static_cast<unsigned>(warps * kWarp), shared_bytes(s, packed, warps)}, input,
         weights.data<float>(), s, packed, grid.chunks, MlpOutput(y));
}

bool fits(const TileMlpSizes& s) {
  return packs(s) && s.x_channels() <= kHidden && warps_for(s, PackedMlp(s, PackFormat::f32)) > 0;
}

}  // namespace

void add_tile_mlp_fused() { add_tile_mlp_forward("fused", run, fits); }

}  // namespace asap::cuda
