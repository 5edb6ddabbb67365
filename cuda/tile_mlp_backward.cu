// The gradients of the per-tile MLP in one kernel: `fused` in f32, `fused_tf32` on tensor cores. A block takes a tile, or a
// part of one, 64 pixels at a time: it recomputes all layers into shared memory, then goes back through them, each gradient
// taking the place of the activation it belongs to. The tile's weight gradients stay in registers over all its pixels
// (16 of every layer in each of 256 threads) and are written once: no atomics, one order of sums. A class number takes part in
// no product: it names a row of the first layer's weights, read from memory, and of its gradient, in shared memory.
// Floors (facades 512): 23 GFLOP, 0.34 ms at 67 TFLOP/s f32, 46 us in tf32; x, phi, dy and dphi together 46 MB, 14 us.
// Next: tile_mlp_products.cuh, the three products of a layer.
#include "cuda/tile_mlp.cuh"
#include "cuda/tile_mlp_products.cuh"
#include "tensor/ops.h"
#include "tensor/precision.h"

namespace asap::cuda {
namespace {

using products::kPixels;
using products::kThreads;

constexpr int kMostWide = 4;  // layers but the last: their gradients take 16 registers each

// Shared memory in rows of Math::kStride numbers (but for biases, the last layer and what is of classes): weights, gradients of
// the last layer's sums, activations [channel][pixel] of all layers; classes of the pixels; gradients [class][kHidden], those
// of pixels without a class in the last row.
struct BackwardPlan {
  int wide, inputs, padded_inputs, stride;  // inputs: of the products
  int biases, last, last_grads, activations, labels, class_grads, floats;

  BackwardPlan(const TileMlpSizes& s, int stride_)
      : wide(s.depth - 1), inputs(s.inputs - s.classes), padded_inputs((inputs + 7) & ~7), stride(stride_) {
    biases = weight_row(wide) * stride;
    last = biases + wide * kHidden;
    last_grads = last + kOutputs + kHidden * kOutputs;
    activations = last_grads + s.out * stride;
    labels = activations + row(wide + 1) * stride;
    class_grads = labels + kPixels;
    floats = class_grads + (s.classes > 0 ? (s.classes + 1) * kHidden : 0);
  }
  // First row of layer l's weights, and of its input.
  __host__ __device__ int weight_row(int l) const { return l == 0 ? 0 : padded_inputs + (l - 1) * kHidden; }
  __host__ __device__ int row(int l) const { return l == 0 ? 0 : padded_inputs + (l - 1) * kHidden; }
  size_t bytes() const { return static_cast<size_t>(floats) * sizeof(float); }
};

__device__ __forceinline__ int thread() { return static_cast<int>(threadIdx.x); }

// Weights of the wide layers to rows of `stride`, those of classes left out, and of the last layer to rows of kOutputs: with zeros
// behind inputs and channels.
template <class Math, class Weight>
__device__ __forceinline__ void load_weights(const Weight* numbers, const TileMlpSizes& s, const BackwardPlan& plan,
                                             float* shared) {
  for (int l = 0; l < plan.wide; ++l) {
    const LayerNumbers<Weight> from{numbers, s.layer(l)};
    const int skipped = l == 0 ? s.classes : 0, rows = l == 0 ? plan.padded_inputs : kHidden;
    if (thread() < kHidden) shared[plan.biases + l * kHidden + thread()] = from.bias(thread());
#pragma unroll 4
    for (int i = thread(); i < rows * kHidden; i += kThreads) {
      const int row = i / kHidden, column = i % kHidden;
      shared[(plan.weight_row(l) + row) * plan.stride + column] = Math::round(from.weight(skipped + row, column));
    }
  }
  const LayerNumbers<Weight> last{numbers, s.layer(plan.wide)};
  if (thread() < kOutputs) shared[plan.last + thread()] = last.bias(thread());
  for (int i = thread(); i < kHidden * kOutputs; i += kThreads)
    shared[plan.last + kOutputs + i] = Math::round(last.weight(i / kOutputs, i % kOutputs));
}

// The products' input for 64 pixels, [padded_inputs][kPixels], and their classes; a pixel that the tile has not gets the values
// of its last one.
template <class Math>
__device__ __forceinline__ void fill_input(const MlpInput& input, const MlpTile& place, int first,
                                           const TileMlpSizes& s, const BackwardPlan& plan, float* z, int* labels) {
  const int q = min(first + thread() % kPixels, s.side * s.side - 1), column = q & (s.side - 1), row = q >> s.log_side;
  const int pixel = place.pixel(q, s);
  const float* from = input.channels(place.b, pixel, s);
  for (int c = thread() / kPixels; c < plan.padded_inputs; c += kThreads / kPixels) {
    const int k = c - s.x_channels();
    float value = 0;
    if (k < 0) {
      value = from[c * s.plane()];
    } else if (c < plan.inputs) {
      value = positional_input(k, k % 4 < 2 ? column : row, s.side);
    }
    z[c * Math::kStride + thread() % kPixels] = Math::round(value);
  }
  if (thread() < kPixels) labels[thread()] = input.label(place.b, pixel, s);
}

// The last layer's outputs y and from them the gradients of its sums, dy (1 - y^2), [out][kPixels]; zero where the tile has
// no pixel.
template <class Math>
__device__ __forceinline__ void last_layer(const float* z, const float* packed, const float* dy, const MlpTile& place,
                                           int first, const TileMlpSizes& s, float* grads) {
  const int p = thread() % kPixels, q = first + p;
  for (int o = thread() / kPixels; o < s.out; o += kThreads / kPixels) {
    float sum = packed[o];
    for (int c = 0; c < kHidden; ++c) sum += z[c * Math::kStride + p] * packed[kOutputs + c * kOutputs + o];
    const float y = tanhf(sum);
    const bool valid = q < s.side * s.side;
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

// Adds the gradients of channel `thread` to those of the pixels' classes, pixel after pixel. Labels run on: those of equal ones
// are added up in a register first.
__device__ __forceinline__ void add_class_grads(const float* dz, int stride, const int* labels, float* grads) {
  const float* from = dz + thread() * stride;
  int current = labels[0];
  float run = 0;
  for (int p = 0; p < kPixels; p += 4) {
    float four[4];
    products::load_four(from + p, four);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (labels[p + i] != current) {
        grads[current * kHidden + thread()] += run;
        current = labels[p + i], run = 0;
      }
      run += four[i];
    }
  }
  grads[current * kHidden + thread()] += run;
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

// Block (tile, part). partial [parts][tiles][numbers]: the part's sums in phi's order.
template <class Math, class Weight>
__global__ void __launch_bounds__(kThreads, 1)
    backward_kernel(MlpInput input, const Weight* phi, int64_t pitch, const float* dy, TileMlpSizes s, BackwardPlan plan,
                    int chunks, float* dx, float* partial, int numbers) {
  float* shared = dynamic_shared<float>();
  float* z = shared + plan.activations;
  const float* last = shared + plan.last;
  float* last_dz = shared + plan.last_grads;
  const int tile = static_cast<int>(blockIdx.x);
  const auto layer = [&](int l) { return z + plan.row(l) * Math::kStride; };
  const auto layer_weights = [&](int l) { return shared + plan.weight_row(l) * Math::kStride; };
  const Weight* own = phi + tile * pitch;
  const float slope = static_cast<float>(s.slope);
  load_weights<Math>(own, s, plan, shared);
  int* labels = reinterpret_cast<int*>(shared + plan.labels);
  float* class_grads = shared + plan.class_grads;
  const bool has_class_grads =
      s.classes > 0 && thread() < kHidden;  // of channel `thread`, which no other thread touches
  for (int c = 0; has_class_grads && c <= s.classes; ++c) class_grads[c * kHidden + thread()] = 0;
  __syncthreads();

  const MlpTile place(tile, s);
  LastGrads last_grads;
  float dw[kMostWide][16] = {}, db[kMostWide] = {};
#pragma unroll 1
  for (int chunk = static_cast<int>(blockIdx.y); chunk < chunks; chunk += static_cast<int>(gridDim.y)) {
    const int first = chunk * kPixels;
    fill_input<Math>(input, place, first, s, plan, z, labels);
    __syncthreads();
#pragma unroll 1
    for (int l = 0; l < plan.wide; ++l) {
      const auto start = [&](int channel, int pixel) {
        const float bias = shared[plan.biases + l * kHidden + channel];
        if (l > 0 || labels[pixel] >= s.classes) return bias;
        return bias + Math::round(LayerNumbers<Weight>{own, s.layer(0)}.weight(labels[pixel], channel));
      };
      Math::forward(layer(l), layer_weights(l), start, l == 0 ? plan.padded_inputs : kHidden, slope,
                    layer(l + 1));
      __syncthreads();
    }
    last_layer<Math>(layer(plan.wide), last, dy, place, first, s, last_dz);
    __syncthreads();
    last_grads.add(layer(plan.wide), last_dz, Math::kStride, s.out);
    __syncthreads();
    last_input_grad<Math>(last_dz, last, s.out, slope, layer(plan.wide));
    __syncthreads();
#pragma unroll
    for (int l = kMostWide - 1; l >= 0; --l) {
      if (l >= plan.wide) continue;
      Math::weight_grad(layer(l), layer(l + 1), dw[l]);
      db[l] += bias_grad(layer(l + 1), Math::kStride);
      if (l == 0 && has_class_grads) add_class_grads(layer(1), Math::kStride, labels, class_grads);
      __syncthreads();
      if (l > 0 || dx) {
        Math::input_grad(layer(l + 1), layer_weights(l), l > 0 ? kHidden : s.x_channels(), l > 0 ? slope : 1.0f,
                         layer(l));
        __syncthreads();
      }
    }
    if (dx) {
      const int q = first + thread() % kPixels;
      const int channels = s.x_channels();
      float* to = dx + static_cast<int64_t>(place.b) * channels * s.plane() + place.pixel(q, s);
      for (int c = thread() / kPixels; c < channels && q < s.side * s.side; c += kThreads / kPixels) {
        to[c * s.plane()] = z[c * Math::kStride + thread() % kPixels];
      }
      __syncthreads();
    }
  }

  float* to = partial + (static_cast<int64_t>(blockIdx.y) * gridDim.x + tile) * numbers;
  const auto write = [&](const TileMlpLayer& of, int row, int column, float sum) {
    if (row < of.in && column < of.out) to[of.weight + row * of.out + column] = sum;
  };
#pragma unroll
  for (int l = 0; l < kMostWide; ++l) {
    if (l >= plan.wide) continue;
    const TileMlpLayer of = s.layer(l);
    const float bias = sum_of_parts(db[l], kThreads / kHidden, z);
    if (thread() < of.out) to[of.bias + thread()] = bias;
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const auto [row, column] = Math::element(i);
      write(of, (l == 0 ? s.classes : 0) + row, column, dw[l][i]);
    }
  }
  for (int c = 0; has_class_grads && c < s.classes; ++c)
    write(s.layer(0), c, thread(), class_grads[c * kHidden + thread()]);
  const TileMlpLayer of_last = s.layer(plan.wide);
  const float bias = sum_of_parts(last_grads.bias, kThreads / kOutputs, z);
  if (thread() < of_last.out) to[of_last.bias + thread()] = bias;
  for (int i = 0; i < 2; ++i)
    write(of_last, thread() % kHidden, thread() / kHidden + 4 * i, last_grads.weights[i]);
}

template <class Math>
void backward(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params,
              Tensor& dx, Tensor& dphi) {
  const TileMlpSizes s(labels, x, params);
  const BackwardPlan plan(s, Math::kStride);
  const int tiles = s.batch * s.cells, chunks = static_cast<int>(ceil_div(s.side * s.side, kPixels));
  const int parts =
      std::clamp(card().multiprocessors / tiles, 1, chunks);  // one block runs on a multiprocessor at a time
  Tensor partial = Tensor::empty({parts, s.batch, phi.size(2), phi.size(3), phi.size(1)}, DType::f32, Device::cuda);
  const dim3 blocks(static_cast<unsigned>(tiles), static_cast<unsigned>(parts));
  with_tiles(phi, [&]<class Weight>(const Weight* numbers, int64_t pitch) {
    launch(backward_kernel<Math, Weight>, {blocks, kThreads, plan.bytes()}, MlpInput(labels, x), numbers, pitch,
           dy.data<float>(), s, plan, chunks, dx.defined() ? dx.data<float>() : nullptr, partial.data<float>(),
           static_cast<int>(phi.size(1)));
  });
  const Tensor grads = parts == 1 ? partial.select(0, 0) : sum(partial, {0});
  kernels::copy.run(Device::cuda, grads.permute({0, 3, 1, 2}), dphi);
}

template <class Math>
void add(const char* variant, Precision precision) {
  kernels::tile_mlp_backward.add(Device::cuda, variant, backward<Math>,
                                 [precision](const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                                             const TileMlpParams& params, const Tensor& dx, const Tensor& dphi) {
                                   if (!precision_allows(precision) || !takes_tile_mlp(labels, x, phi, dy) ||
                                       !takes_tile_mlp(labels, dx, dphi, dy))
                                     return false;
                                   const TileMlpSizes s(labels, x, params);
                                   const BackwardPlan plan(s, Math::kStride);
                                   return has_fused_sizes(s) && plan.inputs <= kHidden && plan.wide <= kMostWide &&
                                          plan.bytes() <= card().shared_bytes;
                                 },
                                 {.strided = true, .bf16 = true});
}

}  // namespace

void add_tile_mlp_backward() {
  add<products::Tf32>("fused_tf32", Precision::tf32);
  add<products::Simt>("fused", Precision::f32);
}

}  // namespace asap::cuda
