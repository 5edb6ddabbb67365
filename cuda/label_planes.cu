// The low-res stream's input from class numbers (docs/asapnet.md): one-hot planes and the instance channel, downsampled by the
// tent filter. Nothing one-hot is ever in memory. Next: conv2d_channels_last.cu, which reads the result.
#include <cstdint>

#include "cuda/common.cuh"
#include "cuda/divisor.cuh"
#include "cuda/hopper.cuh"
#include "cuda/register.h"
#include "tensor/definitions/label_planes.h"

namespace asap::cuda {
namespace {

// What a kernel knows of its tensors. H x W labels, OH x OW pixels of y.
template <class Label>
struct Picture {
  const Label* labels;    // [N,H,W]
  const float* instance;  // [N,1,H,W] or null
  int H, W, OH, OW, factor, classes, channels;
  int pixel_step;  // from a channels-last y's pixel to its next one; 0: y is row-major

  Picture(const Tensor& l, const Tensor& i, const LabelPlanesParams& p, const Tensor& y)
      : labels(l.data<Label>()),
        instance(i.defined() ? i.data<float>() : nullptr),
        H(static_cast<int>(l.size(1))),
        W(static_cast<int>(l.size(2))),
        OH(static_cast<int>(y.size(2))),
        OW(static_cast<int>(y.size(3))),
        factor(static_cast<int>(p.factor)),
        classes(static_cast<int>(p.classes)),
        channels(static_cast<int>(y.size(1))),
        pixel_step(y.layout() == Layout::channels_last ? static_cast<int>(pixel_stride(y)) : 0) {}
};

// Tap i reads position o * factor - factor / 2 + i. Without downsampling there is one tap of weight 1.
__host__ __device__ constexpr int tap_count(int factor) { return factor == 1 ? 1 : 2 * factor; }
__device__ __forceinline__ float tap_weight(int i, int factor) {
  return factor == 1 ? 1.0f : definitions::tent_weight<float>(i, factor);
}
__device__ __forceinline__ int tap_position(int o, int i, int n, int factor) {
  return padded_index(o * factor - (factor == 1 ? 0 : factor / 2) + i, n, PadMode::reflect);
}

// counted: every label adds its tap's weight to its class.
// A thread takes one pixel of y and has a column of sums in shared memory, one for each class and one for the instance
// channel. Labels run on: the weight of a run of equal ones is added up in a register first. The weights are multiples of
// 1 / (4 factor^4), so that sums are exact in any order.
// factor^2 labels (and 4 factor^2 bytes of instance) read, `channels` elements written for each pixel of y: written in
// whole lines in either layout, channels-last by passing the sums through shared memory.

constexpr int kPixels = 128, kResident = 8;  // of y, in a block; blocks of a multiprocessor: 64 registers a thread
constexpr int kColumnPitch = kPixels + 1;  // channels of one pixel then lie in different banks

template <int Factor, class Label>  // 0: any factor
__device__ __forceinline__ void add_up(const Picture<Label>& p, int64_t pixel, Divisor width, Divisor height,
                                       float* column) {
  const int factor = Factor ? Factor : p.factor;
  const unsigned r = width.quotient(static_cast<unsigned>(pixel)), n = height.quotient(r);
  const int ow = static_cast<int>(static_cast<unsigned>(pixel) - r * width.value),
            oh = static_cast<int>(r - n * height.value);
  unsigned current = ~0u;
  float run = 0, extra = 0;
  const auto flush = [&] {
    if (current < static_cast<unsigned>(p.classes)) column[current * kColumnPitch] += run;
  };
  // All labels of a window, or of a row of it, are on their way before the first is counted.
  constexpr int kTaps = tap_count(Factor ? Factor : 1), kRows = Factor == 2 ? kTaps : 1;
  const int taps = Factor ? kTaps : tap_count(factor);
  const auto place = [&](int i, int j) {
    return (static_cast<int>(n) * p.H + tap_position(oh, i, p.H, factor)) * p.W + tap_position(ow, j, p.W, factor);
  };
  const auto count = [&](int i, int j, unsigned label) {
    const float weight = tap_weight(i, factor) * tap_weight(j, factor);
    if (label != current) {
      flush();
      current = label, run = 0;
    }
    run += weight;
    if (p.instance) extra += weight * p.instance[place(i, j)];
  };
#pragma unroll 1
  for (int first = 0; first < taps; first += kRows) {
    if constexpr (Factor > 0) {
      unsigned labels[kRows][kTaps];
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kTaps; ++j) labels[i][j] = static_cast<unsigned>(p.labels[place(first + i, j)]);
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kTaps; ++j) count(first + i, j, labels[i][j]);
      }
    } else {
      for (int j = 0; j < taps; ++j) count(first, j, static_cast<unsigned>(p.labels[place(first, j)]));
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

template <int Factor, class Label, class T>
__global__ void __launch_bounds__(kPixels, kResident)
    label_planes_counted_kernel(Picture<Label> p, int pixels, Divisor width, Divisor height, Divisor vectors, T* y) {
  let_next_kernel_start();
  auto* sums = dynamic_shared<float>();  // [channels][kColumnPitch]
  const int rank = static_cast<int>(threadIdx.x), first = static_cast<int>(blockIdx.x) * kPixels,
            here = min(kPixels, pixels - first);
  for (int c = 0; c < p.channels; ++c) sums[c * kColumnPitch + rank] = 0;
  wait_for_previous_kernel();
  if (rank < here) add_up<Factor>(p, first + rank, width, height, sums + rank);
  if (p.pixel_step == 0) {
    if (rank >= here) return;  // this layout has no barrier
    const int plane = p.OH * p.OW, n = (first + rank) / plane;
    T* out = y + static_cast<int64_t>(n) * p.channels * plane + (first + rank - n * plane);
    for (int c = 0; c < p.channels; ++c) {
      out[static_cast<int64_t>(c) * plane] = T(sums[c * kColumnPitch + rank]);
    }
    return;
  }
  __syncthreads();
  constexpr int kWide = 16 / sizeof(T);
  for (int i = rank; i < here * static_cast<int>(vectors.value); i += kPixels) {
    const int pixel = static_cast<int>(vectors.quotient(static_cast<unsigned>(i))),
              channel = (i - pixel * static_cast<int>(vectors.value)) * kWide;
    const auto value = [&](int k) { return sums[(channel + k) * kColumnPitch + pixel]; };
    T* out = y + static_cast<int64_t>(first + pixel) * p.pixel_step + channel;
    if (channel + kWide <= p.channels) {
      store_channels(out, value);
    } else {
      for (int k = 0; channel + k < p.channels; ++k) out[k] = T(value(k));
    }
  }
}

size_t shared_bytes(const Tensor& y) { return static_cast<size_t>(y.size(1)) * kColumnPitch * sizeof(float); }

template <int Factor>
void run_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  const int64_t pixels = y.numel() / y.size(1);
  const auto run = [&](auto label, auto zero) {
    using Label = decltype(label);
    using T = decltype(zero);
    launch(label_planes_counted_kernel<Factor, Label, T>,
           Launch(static_cast<unsigned>(ceil_div(pixels, kPixels)), kPixels, shared_bytes(y)).overlapping(),
           Picture<Label>(labels, instance, p, y), static_cast<int>(pixels), Divisor(y.size(3)), Divisor(y.size(2)),
           Divisor(ceil_div(y.size(1) * int64_t{sizeof(T)}, 16)), y.data<T>());
  };
  const auto run_on = [&](auto label) { y.dtype() == DType::bf16 ? run(label, bf16{}) : run(label, 0.0f); };
  labels.dtype() == DType::u8 ? run_on(uint8_t{}) : run_on(int32_t{});
}

void label_planes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams& p, Tensor& y) {
  switch (p.factor) {
    case 1: return run_counted<1>(labels, instance, p, y);
    case 2: return run_counted<2>(labels, instance, p, y);
    case 4: return run_counted<4>(labels, instance, p, y);
    default: return run_counted<0>(labels, instance, p, y);
  }
}

// A channels-last y is written 16 bytes at a time.
bool takes_counted(const Tensor& labels, const Tensor& instance, const LabelPlanesParams&, const Tensor& y) {
  const bool vectors =
      y.is_channels_last() && pixel_stride(y) % kPixelAlignment == 0 && reinterpret_cast<uintptr_t>(y.raw()) % 16 == 0;
  return labels.is_contiguous() &&
         (!instance.defined() || (instance.dtype() == DType::f32 && instance.is_contiguous())) &&
         y.dtype() != DType::f64 && (y.is_contiguous() || vectors) && labels.numel() <= INT32_MAX &&
         shared_bytes(y) <= card().shared_bytes;
}

}  // namespace

void register_label_planes() {
  kernels::label_planes.add(Device::cuda, "counted", label_planes_counted, takes_counted,
                            {.strided = true, .bf16 = true});
}

}  // namespace asap::cuda
