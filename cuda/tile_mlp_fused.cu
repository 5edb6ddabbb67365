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
  int group = static_cast<int>(threadIdx.x) % kWarp / 8, quad = static_cast<int>(threadIdx.x) % 8;
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
  for (int i = static_cast<int>(threadIdx.x); i < 2 * s.tile * kHidden; i += static_cast<int>(blockDim.x)) {
    const int channel = i % kHidden, place = i / kHidden & (s.tile - 1);
    const bool by_row = i >= s.tile * kHidden;
    float sum = by_row ? 0.0f : packed[channel];
    for (int k = by_row ? 2 : 0; k < 4 * s.log_tile; k += 4) {
      const int period = s.tile >> k / 4;
      const float turns = 2.0f * static_cast<float>(place & (period - 1)) / static_cast<float>(period);
      const float* w = packed + kHidden + (s.channels + k) * kHidden + channel;
      sum += cospif(turns) * w[0] + sinpif(turns) * w[kHidden];
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

// x [B,C,H,W]: its channels of the warp's pixels go through shared memory into a product.
struct PictureInput {
  const float* x;

  struct Pixel {};
  __device__ __forceinline__ Pixel start(const TilePlace& place, int pixel, bool valid, const float* w,
                                         const TileMlpSizes& s, float* z, Share& share) const {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, count = (s.channels + 3) & ~3;
    const float* from = x + static_cast<int64_t>(place.b) * s.channels * s.plane() + pixel;
#pragma unroll 4
    for (int c = 0; c < count; ++c) {
      z[activation(c, lane / 4) + lane % 4] = valid && c < s.channels ? from[c * s.plane()] : 0.0f;
    }
    __syncwarp();
    multiply(z, w, count, share);
    __syncwarp();
    return {};
  }
  __device__ __forceinline__ void add(const Pixel&, int, const float*, float (&)[8]) const {}
};

// A class number names a row of W, and there is no product.
struct ClassInput {
  LabelInput input;

  struct Pixel {
    int label;
    float instance;
  };
  __device__ __forceinline__ Pixel start(const TilePlace& place, int pixel, bool valid, const float*,
                                         const TileMlpSizes& s, float*, Share&) const {
    const int64_t at = place.b * s.plane() + pixel;
    return {valid ? input.labels[at] : 0, valid && input.instance ? input.instance[at] : 0.0f};
  }
  // Adds for the pixel of lane `from`.
  __device__ __forceinline__ void add(const Pixel& own, int from, const float* w, float (&sums)[8]) const {
    const int label = __shfl_sync(kAllLanes, own.label, from);
    add_row(w + min(label, input.classes - 1) * kHidden, label < input.classes ? 1.0f : 0.0f, sums);
    if (input.instance) add_row(w + input.classes * kHidden, __shfl_sync(kAllLanes, own.instance, from), sums);
  }
};

// Layer 0 of the 32 pixels from number q of the tile on, to z: the input's part, then bias and positional part.
template <class Input>
__device__ __forceinline__ void first_layer(const Input& input, const TilePlace& place, int q, const float* w,
                                            const float* part, const TileMlpSizes& s, float* z) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  Share share = {};
  const typename Input::Pixel own =
      input.start(place, place.pixel(q + lane, s), q + lane < s.tile * s.tile, w, s, z, share);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int i = 4 * half; i < 4 * half + 4; ++i) {
      const int from = 8 * share.group + i, column = (q + from) & (s.tile - 1),
                row = min((q + from) >> s.log_tile, s.tile - 1);
      input.add(own, from, w + 4 * share.quad, share.sums[i]);
      add_row(part + column * kHidden + 4 * share.quad, 1.0f, share.sums[i]);
      add_row(part + (s.tile + row) * kHidden + 4 * share.quad, 1.0f, share.sums[i]);
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
template <class Input>
__global__ void __launch_bounds__(kMostWarps* kWarp, 1)
    fused_kernel(Input input, const float* weights, TileMlpSizes s, PackedMlp packed, int chunks, MlpOutput y) {
  float* own = dynamic_shared<float>();
  float* part = own + packed.words;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp, tile = static_cast<int>(blockIdx.x);
  float* z = part + 2 * s.tile * kHidden + warp * kLong;
  copy_packed(weights + static_cast<int64_t>(tile) * packed.words, packed.words, own);
  copy_wait<0>();
  __syncthreads();
  positional_part(own, s, part);
  __syncthreads();

  const TilePlace place(tile, s);
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
      if (o < s.out && q < s.tile * s.tile) y.write(place.b, o, place.pixel(q, s), tanhf(values[o]), s);
    }
    __syncwarp();
  }
}

size_t shared_bytes(const TileMlpSizes& s, const PackedMlp& packed, int warps) {
  return packed.bytes() + static_cast<size_t>(2 * s.tile * kHidden + warps * kLong) * sizeof(float);
}
// 16 warps a block where a tile has pixels for them, else 4, of whose blocks two run side by side; fewer where the card has
// less shared memory, 0 where it has not enough for one.
int warps_for(const TileMlpSizes& s, const PackedMlp& packed) {
  int warps = s.tile * s.tile >= kMostWarps * kWarp ? kMostWarps : 4;
  while (warps > 0 && shared_bytes(s, packed, warps) > card().shared_bytes) warps /= 2;
  return warps;
}

template <class Input>
void run(const Input& input, const Tensor& phi, Layout layout, const TileMlpSizes& s, Tensor& y) {
  const PackedMlp packed(s, PackFormat::f32);
  const Tensor weights = pack_phi(phi, layout, s, PackFormat::f32);
  const int warps = warps_for(s, packed);
  const TileGrid grid(s, warps, warps > 4 ? 1 : 2);
  launch(fused_kernel<Input>, {grid.blocks(s), static_cast<unsigned>(warps * kWarp), shared_bytes(s, packed, warps)},
         input, weights.data<float>(), s, packed, grid.chunks, MlpOutput(y));
}

bool fits(const TileMlpSizes& s) { return packs(s) && warps_for(s, PackedMlp(s, PackFormat::f32)) > 0; }

void forward(const Tensor& x, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
  run(PictureInput{x.data<float>()}, phi, Layout::row_major, TileMlpSizes(x, params), y);
}
bool takes_forward(const Tensor& x, const Tensor&, const TileMlpParams& params, const Tensor&) {
  return x.dtype() == DType::f32 && x.size(1) <= kHidden - 3 && fits(TileMlpSizes(x, params));
}

void labels(const Tensor& labels, const Tensor& instance, const Tensor& phi, const TileMlpLabelsParams& params,
            Tensor& y) {
  const ClassInput input{LabelInput(labels, instance, params)};
  run(input, phi, params.phi_layout, TileMlpSizes(labels, instance, params), y);
}
bool takes_labels(const Tensor& labels, const Tensor& instance, const Tensor& phi, const TileMlpLabelsParams& params,
                  const Tensor&) {
  return phi.dtype() != DType::f64 && fits(TileMlpSizes(labels, instance, params));
}

}  // namespace

void add_tile_mlp_fused() {
  kernels::tile_mlp_forward.add(Device::cuda, "fused", forward, takes_forward);
  kernels::tile_mlp_labels.add(Device::cuda, "fused", labels, takes_labels, {.bf16 = true});
}

}  // namespace asap::cuda
