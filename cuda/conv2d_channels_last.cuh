// What the convolutions of channels-last pictures share: sizes as kernels take them and stores of four channels. They are
// variants of conv2d_forward and, with the norm behind them, of conv2d_instance_norm.
// Used by conv2d_channels_last*.cu and conv2d_instance_norm*.cu. Next: conv2d_channels_last_split_k.cuh.
#pragma once

#include "cuda/epilogue.cuh"
#include "cuda/mma.cuh"
#include "tensor/definitions/padded_index.h"
#include "tensor/precision.h"

namespace asap::cuda {

// x has `pictures` x height x width pixels, y pictures x out_height x out_width. Pitches are elements from one pixel to the
// next; what lies behind its channels is nobody's. K runs over w's pitch, with zeros behind the channels.
struct ChannelsLastSizes {
  int pictures, height, width, channels, x_pitch;
  int outputs, side, w_pitch, stride, pad;
  int out_height, out_width, y_pitch;
  PadMode mode;
  __host__ __device__ __forceinline__ int pixels() const { return out_height * out_width; }  // of one picture of y
};

// Of a channels-last tensor.
inline int64_t pixel_pitch(const Tensor& x) {
  return x.size(3) > 1 ? x.strides()[3] : x.size(2) > 1 ? x.strides()[2] : x.size(0) > 1 ? x.strides()[0] : x.size(1);
}

// Square kernels on channels-last tensors. Copies of 16 bytes want pixels that start at whole ones, and stores of four or eight
// outputs room behind the last.
inline bool takes_pixels(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const auto has_pixels = [](const Tensor& t) {
    return t.is_channels_last() && pixel_pitch(t) % kPixelAlignment == 0 &&
           reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0;
  };
  return p.groups == 1 && p.dilation == Size2(1) && p.stride.h == p.stride.w && p.padding.h == p.padding.w &&
         w.size(2) == w.size(3) && has_pixels(x) && has_pixels(w) && has_pixels(y);
}

inline ChannelsLastSizes channels_last_sizes(const Tensor& x, const Tensor& w, const Conv2dParams& p, const Tensor& y) {
  const auto i = [](int64_t v) { return static_cast<int>(v); };
  return {.pictures = i(x.size(0)),
          .height = i(x.size(2)),
          .width = i(x.size(3)),
          .channels = i(x.size(1)),
          .x_pitch = i(pixel_pitch(x)),
          .outputs = i(y.size(1)),
          .side = i(w.size(2)),
          .w_pitch = i(pixel_pitch(w)),
          .stride = i(p.stride.h),
          .pad = i(p.padding.h),
          .out_height = i(y.size(2)),
          .out_width = i(y.size(3)),
          .y_pitch = i(pixel_pitch(y)),
          .mode = p.pad_mode};
}

// Four neighbouring channels of a pixel, of which the last may be behind y's.
__device__ __forceinline__ void store_four(float4 v, float* y) { *reinterpret_cast<float4*>(y) = v; }
__device__ __forceinline__ void store_four(float4 v, bf16* y) {
  *reinterpret_cast<uint2*>(y) = make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
}

__device__ __forceinline__ float activate(float v, float slope) { return v > 0 ? v : slope * v; }

void add_conv2d_instance_norm_cluster();  // conv2d_instance_norm_cluster.cu; called by register_conv2d_channels_last

}  // namespace asap::cuda
