// What the kernels of conv_layer share: the layer's sizes as kernels take them, padding as a rule for indices, and numbers
// in either storage. Used by conv_layer*.cu. Next: conv_layer.cu, the definition; conv_layer_split_k.cuh, the fast one.
#pragma once

#include "cuda/mma.cuh"
#include "tensor/precision.h"

namespace asap::cuda {

// x has `pictures` x height x width x channels, y pictures x out_height x out_width x outputs, in either layout.
struct ConvLayerShape {
  int pictures, height, width, channels;
  int outputs, side, stride, pad;
  int out_height, out_width;
  PadMode mode;
  __host__ __device__ __forceinline__ int pixels() const { return out_height * out_width; }  // of one picture of y
};

inline ConvLayerShape conv_layer_shape(const Tensor& x, const Tensor& w, const ConvLayerParams& p, const Tensor& y) {
  const bool nhwc = p.layout == Layout::channels_last;
  const auto size = [&](const Tensor& t, int nchw_dim, int nhwc_dim) {
    return static_cast<int>(t.size(nhwc ? nhwc_dim : nchw_dim));
  };
  return {.pictures = size(x, 0, 0),
          .height = size(x, 2, 1),
          .width = size(x, 3, 2),
          .channels = size(x, 1, 3),
          .outputs = size(y, 1, 3),
          .side = size(w, 2, 1),
          .stride = static_cast<int>(p.stride),
          .pad = static_cast<int>(p.pad),
          .out_height = size(y, 2, 1),
          .out_width = size(y, 3, 2),
          .mode = p.pad_mode};
}

// Which of 0..n-1 the position i of the padded axis reads; negative where it reads zero.
__device__ __forceinline__ int padded_source(int i, int n, PadMode mode) {
  if (i >= 0 && i < n) return i;
  if (mode == PadMode::zero) return -1;
  if (mode == PadMode::reflect) return i < 0 ? -i : 2 * (n - 1) - i;
  return i < 0 ? 0 : n - 1;
}

__device__ __forceinline__ float as_number(float x) { return x; }
__device__ __forceinline__ double as_number(double x) { return x; }
__device__ __forceinline__ float as_number(bf16 x) { return to_float(x); }
__device__ __forceinline__ void store_number(float x, float* y) { *y = x; }
__device__ __forceinline__ void store_number(double x, double* y) { *y = x; }
__device__ __forceinline__ void store_number(float x, bf16* y) { *y = to_bf16(x); }

// Four neighbouring outputs of a pixel, of which those from `outputs` on are not there; o is a multiple of four.
__device__ __forceinline__ void store_four(float4 v, int o, int outputs, float* y) {
  if (outputs % 4 == 0) {
    *reinterpret_cast<float4*>(y) = v;
    return;
  }
  y[0] = v.x;
  if (o + 1 < outputs) y[1] = v.y;
  if (o + 2 < outputs) y[2] = v.z;
  if (o + 3 < outputs) y[3] = v.w;
}
__device__ __forceinline__ void store_four(float4 v, int o, int outputs, bf16* y) {
  if (outputs % 4 == 0) {
    *reinterpret_cast<uint2*>(y) = make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
    return;
  }
  y[0] = to_bf16(v.x);
  if (o + 1 < outputs) y[1] = to_bf16(v.y);
  if (o + 2 < outputs) y[2] = to_bf16(v.z);
  if (o + 3 < outputs) y[3] = to_bf16(v.w);
}

template <class T>
__device__ __forceinline__ T activate(T v, T slope) {
  return v > 0 ? v : slope * v;
}

// The variants before `naive`, fastest first.
void register_conv_layer_cluster();  // conv_layer_cluster.cu
void register_conv_layer_split_k();  // conv_layer_split_k.cu

}  // namespace asap::cuda
