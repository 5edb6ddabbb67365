// One layer of the low-res stream in inference: pad, convolve, then instance norm and activation, or bias. This is the
// definition: a plain convolution into scratch memory and a plain norm, in either layout; f32, bf16 and, as on the CPU, f64.
// Next: conv_layer_split_k.cuh, which fills a card at batch 1.
#include "cuda/conv_layer.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// Steps between neighbours along each axis: one kernel reads and writes both layouts.
struct Strides {
  int64_t picture, channel, row, column;
};
Strides strides_of(Layout layout, int64_t channels, int64_t height, int64_t width) {
  const int64_t picture = channels * height * width;
  if (layout == Layout::row_major) return {picture, height * width, width, 1};
  return {picture, 1, width * channels, channels};
}

// h = convolution of padded x with w, h in y's layout.
template <class T, class Sum>
__global__ void convolve_naive_kernel(const T* x, const T* w, ConvLayerShape s, Strides xs, Strides ws, Strides hs,
                                      Sum* h) {
  for_each_index(int64_t{s.pictures} * s.pixels() * s.outputs, [&](int64_t i) {
    const int o = static_cast<int>(i % s.outputs), pixel = static_cast<int>(i / s.outputs % s.pixels());
    const int64_t n = i / s.outputs / s.pixels();
    const int oh = pixel / s.out_width, ow = pixel % s.out_width;
    Sum sum = 0;
    for (int kh = 0; kh < s.side; ++kh) {
      for (int kw = 0; kw < s.side; ++kw) {
        const int ih = padded_source(oh * s.stride + kh - s.pad, s.height, s.mode);
        const int iw = padded_source(ow * s.stride + kw - s.pad, s.width, s.mode);
        if (ih < 0 || iw < 0) continue;
        const T* from = x + n * xs.picture + ih * xs.row + iw * xs.column;
        const T* weight = w + o * ws.picture + kh * ws.row + kw * ws.column;
        for (int c = 0; c < s.channels; ++c) sum += as_number(from[c * xs.channel]) * as_number(weight[c * ws.channel]);
      }
    }
    h[n * hs.picture + o * hs.channel + oh * hs.row + ow * hs.column] = sum;
  });
}

// One block for each plane: its mean, its variance, then its values.
template <class Sum, class T>
__global__ void instance_norm_naive_kernel(const Sum* h, const float* scale, const float* shift, ConvLayerShape s,
                                           Strides strides, Sum eps, Sum slope, T* y) {
  const int o = static_cast<int>(blockIdx.x) % s.outputs, n = static_cast<int>(blockIdx.x) / s.outputs;
  const auto at = [&](int i) {
    return n * strides.picture + o * strides.channel + i / s.out_width * strides.row + i % s.out_width * strides.column;
  };
  const int first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  double sum = 0, squares = 0;
  for (int i = first; i < s.pixels(); i += step) sum += h[at(i)];
  const double mean = block_reduce(sum, 0.0) / s.pixels();
  for (int i = first; i < s.pixels(); i += step) squares += (h[at(i)] - mean) * (h[at(i)] - mean);
  const double variance = block_reduce(squares, 0.0) / s.pixels();
  const Sum center = static_cast<Sum>(mean),
            factor = scale[o] * static_cast<Sum>(1 / sqrt(variance + static_cast<double>(eps)));
  for (int i = first; i < s.pixels(); i += step) {
    store_number(activate((h[at(i)] - center) * factor + shift[o], slope), y + at(i));
  }
}

template <class Sum, class T>
__global__ void bias_naive_kernel(const Sum* h, const float* shift, int64_t count, int64_t channel_stride, int outputs,
                                  T* y) {
  for_each_index(count, [&](int64_t i) { store_number(h[i] + shift[i / channel_stride % outputs], y + i); });
}

template <class T, class Sum>
void convolve_naive(const Tensor& x, const Tensor& w, const ConvLayerShape& s, Layout layout, Tensor& h) {
  launch(convolve_naive_kernel<T, Sum>, {blocks_for(h.numel()), kBlock}, x.data<T>(), w.data<T>(), s,
         strides_of(layout, s.channels, s.height, s.width), strides_of(layout, s.channels, s.side, s.side),
         strides_of(layout, s.outputs, s.out_height, s.out_width), h.data<Sum>());
}

template <class Sum, class T>
void finish_naive(const Tensor& h, const Tensor& scale, const Tensor& shift, const ConvLayerShape& s,
                  const ConvLayerParams& p, Tensor& y) {
  const Strides strides = strides_of(p.layout, s.outputs, s.out_height, s.out_width);
  if (p.norm) {
    launch(instance_norm_naive_kernel<Sum, T>, {static_cast<unsigned>(s.pictures * s.outputs), kBlock}, h.data<Sum>(),
           scale.data<float>(), shift.data<float>(), s, strides, static_cast<Sum>(p.norm_params.eps),
           static_cast<Sum>(p.norm_params.activation_slope), y.data<T>());
  } else {
    launch(bias_naive_kernel<Sum, T>, {blocks_for(y.numel()), kBlock}, h.data<Sum>(), shift.data<float>(), y.numel(),
           strides.channel, s.outputs, y.data<T>());
  }
}

void conv_layer_naive(const Tensor& x, const Tensor& w, const Tensor& scale, const Tensor& shift,
                      const ConvLayerParams& p, Tensor& y) {
  const ConvLayerShape s = conv_layer_shape(x, w, p, y);
  Tensor h = scratch(y.numel(), x.dtype() == DType::f64 ? DType::f64 : DType::f32);
  switch (x.dtype()) {
    case DType::f64:
      convolve_naive<double, double>(x, w, s, p.layout, h);
      return finish_naive<double, double>(h, scale, shift, s, p, y);
    case DType::bf16: convolve_naive<bf16, float>(x, w, s, p.layout, h); break;
    default: convolve_naive<float, float>(x, w, s, p.layout, h);
  }
  y.dtype() == DType::bf16 ? finish_naive<float, bf16>(h, scale, shift, s, p, y)
                           : finish_naive<float, float>(h, scale, shift, s, p, y);
}

}  // namespace

void register_conv_layer() {
  register_conv_layer_cluster();
  register_conv_layer_split_k();
  kernels::conv_layer.add(Device::cuda, "naive", conv_layer_naive, {}, {.bf16 = true});
}

}  // namespace asap::cuda
