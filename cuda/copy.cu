// fill and copy: any strides, any pair of dtypes. Both are bound by memory alone: `vectorized` moves 16 bytes a thread where
// the tensors are contiguous. Next: elementwise.cu.
#include <array>

#include "cuda/common.cuh"
#include "cuda/mma.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"

namespace asap::cuda {
namespace {

// C++'s static_cast, with bf16 on either side.
template <class To, class From>
__device__ __forceinline__ To convert(From x) {
  if constexpr (std::is_same_v<To, From>) {
    return x;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return static_cast<To>(to_float(x));
  } else if constexpr (std::is_same_v<To, bf16>) {
    return to_bf16(static_cast<float>(x));
  } else {
    return static_cast<To>(x);
  }
}

template <class T>
__global__ void fill_kernel(T value, StridedIndex<1> index, T* y) {
  for_each_index(index.count, [&](int64_t i) {
    int64_t offset[1];
    index.offsets(i, offset);
    y[offset[0]] = value;
  });
}

template <class From, class To>
__global__ void copy_kernel(const From* x, StridedIndex<2> index, To* y) {
  for_each_index(index.count, [&](int64_t i) {
    int64_t offset[2];
    index.offsets(i, offset);
    y[offset[1]] = convert<To>(x[offset[0]]);
  });
}

__global__ void copy_16_bytes_kernel(const uint4* x, int64_t count, uint4* y) {
  for_each_index(count, [&](int64_t i) { y[i] = x[i]; });
}

void fill_naive(double value, Tensor& y) {
  const StridedIndex<1> index({&y});
  dispatch_all(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    launch(fill_kernel<T>, {blocks_for(index.count), kBlock}, static_cast<T>(value), index, y.data<T>());
  });
}

void copy_naive(const Tensor& x, Tensor& y) {
  const StridedIndex<2> index({&x, &y});
  dispatch_all(x.dtype(), [&](auto from) {
    dispatch_all(y.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      launch(copy_kernel<From, To>, {blocks_for(index.count), kBlock}, x.data<From>(), index, y.data<To>());
    });
  });
}

bool takes_16_bytes(const Tensor& x, const Tensor& y) {
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16 == 0; };
  return x.dtype() == y.dtype() && x.is_contiguous() && y.is_contiguous() && x.bytes() % 16 == 0 && aligned(x) &&
         aligned(y);
}

void copy_vectorized(const Tensor& x, Tensor& y) {
  const auto count = static_cast<int64_t>(x.bytes() / 16);
  launch(copy_16_bytes_kernel, {blocks_for(count), kBlock}, static_cast<const uint4*>(x.raw()), count,
         static_cast<uint4*>(y.raw()));
}

}  // namespace

void register_copy() {
  kernels::fill.add(Device::cuda, "naive", fill_naive);
  kernels::copy.add(Device::cuda, "vectorized", copy_vectorized,
                    [](const Tensor& x, const Tensor& y) { return takes_16_bytes(x, y); });
  kernels::copy.add(Device::cuda, "naive", copy_naive);
}

}  // namespace asap::cuda
