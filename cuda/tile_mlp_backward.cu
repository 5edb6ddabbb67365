// The gradients of the per-tile MLP in one kernel: `fused` in f32, `fused_tf32` on tensor cores. A block takes a tile, or a
// part of one, 64 pixels at a time: it recomputes all layers into shared memory, then goes back through them, each gradient
// taking the place of the activation it belongs to. The tile's weight gradients stay in registers over all its pixels
// (16 of every layer in each of 256 threads) and are written once: no atomics, one order of sums.
// Floors (facades 512): 23 GFLOP, 0.34 ms at 67 TFLOP/s f32, 46 us in tf32; x, phi, dy and dphi together 46 MB, 14 us.
// Next: tile_mlp_products.cuh, the three products of a layer; tile_mlp_pack.cuh.
#include "cuda/tile_mlp_pack.cuh"
#include "cuda/tile_mlp_products.cuh"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

using products::kPixels;
using products::kThreads;

constexpr int kMostWide = 4;  // layers but the last: their gradients take 16 registers each

// Shared memory in rows of Math::kStride numbers (but for biases and the last layer): weights, gradients of the last layer's
// sums, activations [channel][pixel] of all layers.
struct BackwardPlan {
  int wide, padded_inputs, stride;
  int biases, last, last_grads, activations, floats;

  BackwardPlan(const TileMlpSizes& s, int stride_)
      : wide(s.depth - 1), padded_inputs((s.inputs + 7) & ~7), stride(stride_) {
    biases = weight_row(wide) * stride;
    last = biases + wide * kHidden;
    last_grads = last + kOutputs + kHidden * kOutputs;
    activations = last_grads + s.out * stride;
    floats = activations + row(wide + 1) * stride;
  }
  // First row of layer l's weights, and of its input.
  __host__ __device__ int weight_row(int l) const { return l == 0 ? 0 : padded_inputs + (l - 1) * kHidden; }
  __host__ __device__ int row(int l) const { return l == 0 ? 0 : padded_inputs + (l - 1) * kHidden; }
  size_t bytes() const { return static_cast<size_t>(floats) * sizeof(float); }
};

__device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }

// Weights of the wide layers to rows of `stride`, with zeros behind the inputs; the last layer as it is packed.
__device__ __forceinline__ void load_weights(const float* from, const TileMlpSizes& s, const PackedMlp& packed,
                                             const BackwardPlan& plan, float* shared) {
  for (int l = 0; l < plan.wide; ++l) {
    const float* layer = from + packed.offset(l);
    const int rows = l == 0 ? s.inputs : kHidden;
    if (thread() < kHidden / 4) copy_async<16>(shared + plan.biases + l * kHidden + 4 * thread(), layer + 4 * thread());
    for (int i = thread(); i < rows * kHidden / 4; i += kThreads) {
      copy_async<16>(shared + (plan.weight_row(l) + i / 16) * plan.stride + i % 16 * 4, layer + kHidden + 4 * i);
    }
  }
  for (int i = thread(); i < packed.last / 4; i += kThreads)
    copy_async<16>(shared + plan.last + 4 * i, from + packed.offset(plan.wide) + 4 * i);
  copy_commit();
  for (int i = thread(); i < (plan.padded_inputs - s.inputs) * kHidden; i += kThreads) {
    shared[(s.inputs + i / kHidden) * plan.stride + i % kHidden] = 0;
  }
  copy_wait<0>();
}

// The MLP's input for 64 pixels, [padded_inputs][kPixels]; a pixel that the tile has not gets the values of its last one.
template <class Math>
__device__ __forceinline__ void fill_input(const float* x, const TilePlace& place, int first, const TileMlpSizes& s,
                                           int rows, float* z) {
  const int q = min(first + thread() % kPixels, s.tile * s.tile - 1), column = q & (s.tile - 1), row = q >> s.log_tile;
  const float* from = x + static_cast<int64_t>(place.b) * s.channels * s.plane() + place.pixel(q, s);
  for (int c = thread() / kPixels; c < rows; c += kThreads / kPixels) {
    const int k = c - s.channels;
    float value = 0;
    if (k < 0) {
      value = from[c * s.plane()];
    } else if (c < s.inputs) {
      const int period = s.tile >> k / 4, at = (k % 4 < 2 ? column : row) & (period - 1);
      const float turns = 2.0f * static_cast<float>(at) / static_cast<float>(period);
      value = k % 2 == 0 ? cospif(turns) : sinpif(turns);
    }
    z[c * Math::kStride + thread() % kPixels] = Math::round(value);
  }
}

// The last layer's outputs y and from them the gradients of its sums, dy (1 - y^2), [out][kPixels]; zero where the tile has
// no pixel.
template <class Math>
__device__ __forceinline__ void last_layer(const float* z, const float* packed, const float* dy, const TilePlace& place,
                                           int first, const TileMlpSizes& s, float* grads) {
  const int p = thread() % kPixels, q = first + p;
  for (int o = thread() / kPixels; o < s.out; o += kThreads / kPixels) {
    float sum = packed[o];
    for (int c = 0; c < kHidden; ++c) sum += z[c * Math::kStride + p] * packed[kOutputs + c * kOutputs + o];
    const float y = tanhf(sum);
    const bool valid = q < s.tile * s.tile;
    const float gradient =
        valid ? dy[(static_cast<int64_t>(place.b) * s.out + o) * s.plane() + place.pixel(q, s)] : 0.0f;
    grads[o * Math::kStride + p] = gradient * (1 - y * y);
  }
}

// Gradients of the last layer's weights and bias: a thread has input `thread % 64`, outputs `thread / 64` and 4 more; of the
// bias, output `thread % 8` over two of the pixels.
struct LastGrads {
  float weights[2] = {0, 0}, bias = 0;

  __device__ __forceinline__ void add(const float* z, const float* grads, int stride, int outputs) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int o = thread() / kHidden + 4 * i;
      if (o >= outputs) continue;
      for (int p = 0; p < kPixels; p += 4) {
        const float4 a = *reinterpret_cast<const float4*>(z + thread() % kHidden * stride + p);
        const float4 b = *reinterpret_cast<const float4*>(grads + o * stride + p);
        weights[i] += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
      }
    }
    if (thread() % kOutputs < outputs) {
      const float* two = grads + thread() % kOutputs * stride + thread() / kOutputs * 2;
      bias += two[0] + two[1];
    }
  }
};

// z, the last layer's input, becomes the gradient of what went into its LeakyReLU. slope >= 0: both have one sign.
template <class Math>
__device__ __forceinline__ void last_input_grad(const float* grads, const float* packed, int outputs, float slope,
                                                float* z) {
  const int p = thread() % kPixels;
  for (int c = thread() / kPixels; c < kHidden; c += kThreads / kPixels) {
    float sum = 0;
    for (int o = 0; o < outputs; ++o) sum += grads[o * Math::kStride + p] * packed[kOutputs + c * kOutputs + o];
    float& value = z[c * Math::kStride + p];
    value = Math::round(value > 0 ? sum : slope * sum);
  }
}

// A quarter of the pixels' gradients of channel `thread % 64`.
__device__ __forceinline__ float bias_grad(const float* dz, int stride) {
  const float* from = dz + thread() % kHidden * stride + thread() / kHidden * 16;
  float sum = 0;
#pragma unroll
  for (int p = 0; p < 16; p += 4) {
    const float4 four = *reinterpret_cast<const float4*>(from + p);
    sum += four.x + four.y + (four.z + four.w);
  }
  return sum;
}

// Sums what `parts` threads, kThreads / parts apart, hold; the first kThreads / parts get the result. shared: kThreads numbers.
__device__ __forceinline__ float sum_of_parts(float value, int parts, float* shared) {
  __syncthreads();
  shared[thread()] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < parts; ++i) sum += shared[thread() % (kThreads / parts) + i * (kThreads / parts)];
  return sum;
}

// Block (tile, part). partial [parts][tiles][packed.words]: the part's sums in the order of PackFormat::f32.
template <class Math>
__global__ void __launch_bounds__(kThreads, 1)
    backward_kernel(const float* x, const float* weights, const float* dy, TileMlpSizes s, PackedMlp packed,
                    BackwardPlan plan, int chunks, float* dx, float* partial) {
  float* shared = dynamic_shared<float>();
  float* z = shared + plan.activations;
  const float* last = shared + plan.last;
  float* last_dz = shared + plan.last_grads;
  const int tile = static_cast<int>(blockIdx.x);
  const auto layer = [&](int l) { return z + plan.row(l) * Math::kStride; };
  const auto layer_weights = [&](int l) { return shared + plan.weight_row(l) * Math::kStride; };
  load_weights(weights + static_cast<int64_t>(tile) * packed.words, s, packed, plan, shared);
  __syncthreads();

  const TilePlace place(tile, s);
  LastGrads last_grads;
  float dw[kMostWide][16] = {}, db[kMostWide] = {};
#pragma unroll 1
  for (int chunk = static_cast<int>(blockIdx.y); chunk < chunks; chunk += static_cast<int>(gridDim.y)) {
    const int first = chunk * kPixels;
    fill_input<Math>(x, place, first, s, plan.padded_inputs, z);
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < plan.wide; ++l) {
      Math::forward(layer(l), layer_weights(l), shared + plan.biases + l * kHidden,
                    l == 0 ? plan.padded_inputs : kHidden, packed.slope, layer(l + 1));
      __syncthreads();
    }
    last_layer<Math>(layer(plan.wide), last, dy, place, first, s, last_dz);
    __syncthreads();
    last_grads.add(layer(plan.wide), last_dz, Math::kStride, s.out);
    __syncthreads();
    last_input_grad<Math>(last_dz, last, s.out, packed.slope, layer(plan.wide));
    __syncthreads();
#pragma unroll
    for (int l = kMostWide - 1; l >= 0; --l) {
      if (l >= plan.wide) continue;
      Math::weight_grad(layer(l), layer(l + 1), dw[l]);
      db[l] += bias_grad(layer(l + 1), Math::kStride);
      __syncthreads();
      if (l > 0 || dx) {
        Math::input_grad(layer(l + 1), layer_weights(l), l > 0 ? kHidden : s.channels, l > 0 ? packed.slope : 1.0f,
                         layer(l));
        __syncthreads();
      }
    }
    if (dx) {
      const int q = first + thread() % kPixels;
      float* to = dx + static_cast<int64_t>(place.b) * s.channels * s.plane() + place.pixel(q, s);
      for (int c = thread() / kPixels; c < s.channels && q < s.tile * s.tile; c += kThreads / kPixels) {
        to[c * s.plane()] = z[c * Math::kStride + thread() % kPixels];
      }
      __syncthreads();
    }
  }

  float* to = partial + (static_cast<int64_t>(blockIdx.y) * gridDim.x + tile) * packed.words;
#pragma unroll
  for (int l = 0; l < kMostWide; ++l) {
    if (l >= plan.wide) continue;
    const float bias = sum_of_parts(db[l], kThreads / kHidden, z);
    if (thread() < kHidden) to[packed.offset(l) + thread()] = bias;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const auto [row, column] = Math::element(i);
      if (row < (l == 0 ? s.inputs : kHidden)) to[packed.offset(l) + kHidden + row * kHidden + column] = dw[l][i];
    }
  }
  float* to_last = to + packed.offset(plan.wide);
  const float bias = sum_of_parts(last_grads.bias, kThreads / kOutputs, z);
  if (thread() < kOutputs) to_last[thread()] = bias;
  for (int i = 0; i < 2; ++i) {
    to_last[kOutputs + thread() % kHidden * kOutputs + thread() / kHidden + 4 * i] = last_grads.weights[i];
  }
}

template <class Math>
void backward(const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params, Tensor& dx,
              Tensor& dphi) {
  const TileMlpSizes s(x, params);
  const PackedMlp packed(s, Math::kFormat);
  const BackwardPlan plan(s, Math::kStride);
  const Tensor weights = pack_phi(phi, Layout::row_major, s, Math::kFormat);
  const int tiles = s.batch * s.cells, chunks = static_cast<int>(ceil_div(s.tile * s.tile, kPixels));
  const int parts =
      std::clamp(card().multiprocessors / tiles, 1, chunks);  // one block runs on a multiprocessor at a time
  Tensor partial = scratch(static_cast<int64_t>(parts) * tiles * packed.words);
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(parts));
  launch(backward_kernel<Math>, {blocks, kThreads, plan.bytes()}, x.data<float>(), weights.data<float>(),
         dy.data<float>(), s, packed, plan, chunks, dx.defined() ? dx.data<float>() : nullptr, partial.data<float>());
  unpack_grads(partial, parts, s, dphi);
}

template <class Math>
bool takes(const Tensor& x, const TileMlpParams& params) {
  const TileMlpSizes s(x, params);
  return x.dtype() == DType::f32 && packs(s) && s.inputs <= kHidden && s.depth - 1 <= kMostWide &&
         BackwardPlan(s, Math::kStride).bytes() <= card().shared_bytes;
}

}  // namespace

void add_tile_mlp_backward() {
  using products::Simt, products::Tf32;
  kernels::tile_mlp_backward.add(
      Device::cuda, "fused_tf32", backward<Tf32>,
      [](const Tensor& x, const Tensor&, const Tensor&, const TileMlpParams& params, const Tensor&, const Tensor&) {
        return precision_allows(Precision::tf32) && takes<Tf32>(x, params);
      });
  kernels::tile_mlp_backward.add(Device::cuda, "fused", backward<Simt>,
                                 [](const Tensor& x, const Tensor&, const Tensor&, const TileMlpParams& params,
                                    const Tensor&, const Tensor&) { return takes<Simt>(x, params); });
}

}  // namespace asap::cuda
