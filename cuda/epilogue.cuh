// What a convolution makes of a sum where it stores it, on every path: naive, matmul_tiled.cuh and the sum of its
// partial sums. Next: conv2d.h.
#pragma once

#include "cuda/common.cuh"

namespace asap::cuda {

// act(sum + bias[channel]), act(v) = v > 0 ? v : slope * v.
template <class T>
struct Epilogue {
  const T* bias = nullptr;  // or none
  T slope = 1;              // 1: no activation
  Epilogue() = default;
  Epilogue(const Tensor& b, double activation_slope)
      : bias(b.defined() ? b.data<T>() : nullptr), slope(static_cast<T>(activation_slope)) {}
  __device__ __forceinline__ T operator()(int64_t channel, T sum) const {
    if (bias) sum += bias[channel];
    return sum > 0 ? sum : slope * sum;
  }
};

}  // namespace asap::cuda
