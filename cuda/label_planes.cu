// The low-res stream's input from class numbers (SPEC section 2): one-hot planes and the instance channel, downsampled by the
// tent filter. Nothing one-hot is ever in memory. Next: conv_layer_split_k.cu, which reads the result.
#include <cstdint>

#include "cuda/common.cuh"
#include "cuda/hopper.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"

namespace asap::cuda {
namespace {

// What a kernel knows of its tensors. H x W labels, OH x OW pixels of y.
struct Picture {
  const uint8_t* labels;  // [N,H,W]
  const float* instance;  // [N,1,H,W] or null
  int H, W, OH, OW, factor, classes, channels;
  bool channels_last;

  Picture(const Tensor& l, const Tensor& i, const LabelPlanesParams& p)
      : labels(l.data<uint8_t>()),
        instance(i.defined() ? i.data<float>() : nullptr),
        H(static_cast<int>(l.size(1))),
        W(static_cast<int>(l.size(2))),
        OH(H / static_cast<int>(p.factor)),
        OW(W / static_cast<int>(p.factor)),
        factor(static_cast<int>(p.factor)),
        classes(static_cast<int>(p.classes)),
        channels(static_cast<int>(p.channels)),
        channels_last(p.layout == Layout::channels_last) {}
};

// Tap i of the filter [1,3,..,3,1] / (2 factor^2) reads position o * factor - factor / 2 + i, reflected at the borders.
// Without downsampling there is one tap of weight 1.
__host__ __device__ constexpr int tap_count(int factor) { return factor == 1 ? 1 : 2 * factor; }
__device__ __forceinline__ float tap_weight(int i, int factor) {
  if (factor == 1) return 1;
  const int rank = min(i, 2 * factor - 1 - i);
  return static_cast<float>(2 * rank + 1) /
         static_cast<float>(2 * factor * factor);  // a multiple of a power of two: exact
}
__device__ __forceinline__ int tap_position(int o, int i, int n, int factor) {
  const int position = o * factor - factor / 2 * (factor > 1) + i;
  return position < 0 ? -position : position < n ? position : 2 * (n - 1) - position;
}

template <class T>
__device__ __forceinline__ T to_element(double v) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

// ---- naive: the definition ------------------------------------------------------------------------------------------

template <class T>
__global__ void label_planes_kernel(Picture p, int64_t count, T* y) {
  for_each_index(count, [=](int64_t i) {
    const int64_t pixels = static_cast<int64_t>(p.OH) * p.OW,
                  rest = p.channels_last ? i / p.channels : i;  // [N,(C,)OH,OW]
    const int c = static_cast<int>(p.channels_last ? i % p.channels : i / pixels % p.channels);
    const int64_t n = p.channels_last ? rest / pixels : rest / pixels / p.channels;
    const int oh = static_cast<int>(rest % pixels / p.OW), ow = static_cast<int>(rest % p.OW);
    double sum = 0;
    for (int row_tap = 0; row_tap < tap_count(p.factor); ++row_tap) {
      for (int column_tap = 0; column_tap < tap_count(p.factor); ++column_tap) {
        const int64_t row = tap_position(oh, row_tap, p.H, p.factor),
                      column = tap_position(ow, column_tap, p.W, p.factor);
        const int64_t at = (n * p.H + row) * p.W + column;
        double value = 0;
        if (c < p.classes) {
          value = p.labels[at] == c;
        } else if (c == p.classes && p.instance) {
          value = p.instance[at];
        }
        sum += static_cast<double>(tap_weight(row_tap, p.factor)) * tap_weight(column_tap, p.factor) * value;
      }
    }
    y[i] = to_element<T>(sum);
  });
}

template <class F>
void dispatch_result(DType dtype, F&& f) {
  dtype == DType::bf16 ? f(bf16{}) : dispatch_floating(dtype, "label_planes", f);
}

void label_planes_naive(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  dispatch_result(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(label_planes_kernel<T>, {blocks_for(y.numel()), kBlock}, Picture(labels, instance, p), y.numel(),
           y.data<T>());
  });
}

// ---- counted: every label adds its tap's weight to its class ---------------------------------------------------------
// A thread takes one pixel of y and has a column of sums in shared memory, one for each class and one for the instance
// channel. Labels run on: the weight of a run of equal ones is added up in a register first. The weights are multiples of
// 1 / (4 factor^4), so that sums are exact in any order.
// factor^2 labels (and 4 factor^2 bytes of instance) read, `channels` elements written for each pixel of y: written in
// whole lines in either layout, NHWC by passing the sums through shared memory.

constexpr int kPixels = 128;               // of y, in a block
constexpr int kColumnPitch = kPixels + 1;  // channels of one pixel then lie in different banks

template <int Factor>  // 0: any
__device__ __forceinline__ void add_up(const Picture& p, int64_t pixel, Divisor width, Divisor height, float* column) {
  const int factor = Factor ? Factor : p.factor;
  const unsigned r = width.quotient(static_cast<unsigned>(pixel)), n = height.quotient(r);
  const int ow = static_cast<int>(static_cast<unsigned>(pixel) - r * width.value),
            oh = static_cast<int>(r - n * height.value);
  int current = 255;
  float run = 0, extra = 0;
  const auto flush = [&] {
    if (current < p.classes) column[current * kColumnPitch] += run;
  };
#pragma unroll
  for (int i = 0; i < (Factor ? tap_count(Factor) : tap_count(factor)); ++i) {
    const int row = (static_cast<int>(n) * p.H + tap_position(oh, i, p.H, factor)) * p.W;
    const float row_weight = tap_weight(i, factor);
#pragma unroll
    for (int j = 0; j < (Factor ? tap_count(Factor) : tap_count(factor)); ++j) {
      const int at = row + tap_position(ow, j, p.W, factor);
      const float weight = row_weight * tap_weight(j, factor);
      const int label = p.labels[at];
      if (label != current) {
        flush();
        current = label, run = 0;
      }
      run += weight;
      if (p.instance) extra += weight * p.instance[at];
    }
  }
  flush();
  if (p.instance) column[p.classes * kColumnPitch] = extra;
}

// 16 bytes of y: channels c, c+1, .. of one pixel, value(k) being the k-th of them.
template <class F>
__device__ __forceinline__ void store_channels(float* y, F&& value) {
  *reinterpret_cast<float4*>(y) = make_float4(value(0), value(1), value(2), value(3));
}
template <class F>
__device__ __forceinline__ void store_channels(bf16* y, F&& value) {
  *reinterpret_cast<uint4*>(y) = make_uint4(pack_bf16(value(0), value(1)), pack_bf16(value(2), value(3)),
                                            pack_bf16(value(4), value(5)), pack_bf16(value(6), value(7)));
}

template <int Factor, class T>
__global__ void __launch_bounds__(kPixels)
    label_planes_counted_kernel(Picture p, int pixels, Divisor width, Divisor height, Divisor channels, T* y) {
  let_next_kernel_start();
  auto* sums = dynamic_shared<float>();  // [classes (+ 1)][kColumnPitch]
  const int rank = static_cast<int>(threadIdx.x), first = static_cast<int>(blockIdx.x) * kPixels,
            here = min(kPixels, pixels - first);
  const int rows = p.classes + (p.instance ? 1 : 0);
  for (int c = 0; c < rows; ++c) sums[c * kColumnPitch + rank] = 0;
  wait_for_previous_kernel();
  if (rank < here) add_up<Factor>(p, first + rank, width, height, sums + rank);
  if (!p.channels_last) {
    if (rank >= here) return;  // this layout has no barrier
    const int plane = p.OH * p.OW, n = (first + rank) / plane;
    T* out = y + static_cast<int64_t>(n) * p.channels * plane + (first + rank - n * plane);
    for (int c = 0; c < p.channels; ++c) {
      out[static_cast<int64_t>(c) * plane] = to_element<T>(c < rows ? sums[c * kColumnPitch + rank] : 0.0f);
    }
    return;
  }
  __syncthreads();
  constexpr int kWide = 16 / sizeof(T);
  T* out = y + static_cast<int64_t>(first) * p.channels;
  const int width_each = p.channels % kWide == 0 ? kWide : 1;
  for (int i = rank * width_each; i < here * p.channels; i += kPixels * width_each) {
    const int pixel = static_cast<int>(channels.quotient(static_cast<unsigned>(i))), channel = i - pixel * p.channels;
    const auto value = [&](int k) { return channel + k < rows ? sums[(channel + k) * kColumnPitch + pixel] : 0.0f; };
    if (width_each == 1) {
      out[i] = to_element<T>(value(0));
    } else {
      store_channels(out + i, value);
    }
  }
}

size_t counted_shared_bytes(const Tensor& instance, const LabelPlanesParams& p) {
  return static_cast<size_t>(p.classes + (instance.defined() ? 1 : 0)) * kColumnPitch * sizeof(float);
}

template <int Factor>
void run_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  const Picture picture(labels, instance, p);
  const int64_t pixels = labels.size(0) * picture.OH * picture.OW;
  const auto with_type = [&](auto tag) {
    using T = decltype(tag);
    launch(label_planes_counted_kernel<Factor, T>,
           Launch(static_cast<unsigned>(ceil_div(pixels, kPixels)), kPixels, counted_shared_bytes(instance, p))
               .overlapping(),
           picture, static_cast<int>(pixels), Divisor(picture.OW), Divisor(picture.OH), Divisor(picture.channels),
           y.data<T>());
  };
  y.dtype() == DType::bf16 ? with_type(bf16{}) : with_type(float{});
}

void label_planes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  switch (p.factor) {
    case 1: return run_counted<1>(labels, instance, p, y);
    case 2: return run_counted<2>(labels, instance, p, y);
    case 4: return run_counted<4>(labels, instance, p, y);
    default: return run_counted<0>(labels, instance, p, y);
  }
}

bool takes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  return y.dtype() != DType::f64 && labels.numel() <= INT32_MAX && reinterpret_cast<uintptr_t>(y.raw()) % 16 == 0 &&
         counted_shared_bytes(instance, p) <= card().shared_bytes;
}

}  // namespace

void register_label_planes() {
  kernels::label_planes.add(Device::cuda, "counted", label_planes_counted, takes_counted, {.bf16 = true});
  kernels::label_planes.add(Device::cuda, "naive", label_planes_naive, {}, {.bf16 = true});
}

}  // namespace asap::cuda
