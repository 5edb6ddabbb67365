// Elementwise kernels: unary, its derivative, binary with broadcasting, and the channel bias. The functions themselves are
// the CPU's: tensor/elementwise_functions.h. `naive` walks any strides. Next: strided.cuh.
#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"
#include "tensor/elementwise_functions.h"

namespace asap::cuda {
namespace {

// ---- naive ----------------------------------------------------------------------------------------------------------

template <class T>
__global__ void unary_kernel(UnaryOp op, const T* x, StridedIndex<2> index, T a, T b, T* y) {
  for_each_index(index.count, [&](int64_t i) {
    int64_t offset[2];
    index.offsets(i, offset);
    y[offset[1]] = evaluate(op, x[offset[0]], a, b);
  });
}

template <class T>
__global__ void unary_backward_kernel(UnaryOp op, const T* saved, const T* dy, int64_t count, T a, T b, T* dx) {
  for_each_index(count, [&](int64_t i) { dx[i] = derivative(op, saved[i], a, b) * dy[i]; });
}

template <class T>
__global__ void binary_kernel(BinaryOp op, const T* a, const T* b, StridedIndex<3> index, T* y) {
  for_each_index(index.count, [&](int64_t i) {
    int64_t offset[3];
    index.offsets(i, offset);
    y[offset[2]] = evaluate(op, a[offset[0]], b[offset[1]]);
  });
}

template <class T>
__global__ void add_bias_kernel(const T* bias, int64_t count, int64_t channels, int64_t plane, T* y) {
  for_each_index(count, [&](int64_t i) { y[i] += bias[i / plane % channels]; });
}

void unary_naive(UnaryOp op, const Tensor& x, const UnaryParams& params, Tensor& y) {
  const StridedIndex<2> index({&x, &y});
  dispatch_floating(x.dtype(), "unary", [&](auto tag) {
    using T = decltype(tag);
    launch(unary_kernel<T>, {blocks_for(index.count), kBlock}, op, x.data<T>(), index, static_cast<T>(params.a),
           static_cast<T>(params.b), y.data<T>());
  });
}

void unary_backward_naive(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params, Tensor& dx) {
  dispatch_floating(dy.dtype(), "unary_backward", [&](auto tag) {
    using T = decltype(tag);
    launch(unary_backward_kernel<T>, {blocks_for(dy.numel()), kBlock}, op, saved.data<T>(), dy.data<T>(), dy.numel(),
           static_cast<T>(params.a), static_cast<T>(params.b), dx.data<T>());
  });
}

void binary_naive(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  const StridedIndex<3> index({&a, &b, &y});
  dispatch_floating(y.dtype(), "binary", [&](auto tag) {
    using T = decltype(tag);
    launch(binary_kernel<T>, {blocks_for(index.count), kBlock}, op, a.data<T>(), b.data<T>(), index, y.data<T>());
  });
}

void add_bias_naive(const Tensor& bias, Tensor& y) {
  const int64_t channels = bias.numel(), plane = y.numel() / std::max<int64_t>(y.size(0) * channels, 1);
  dispatch_floating(y.dtype(), "add_bias", [&](auto tag) {
    using T = decltype(tag);
    launch(add_bias_kernel<T>, {blocks_for(y.numel()), kBlock}, bias.data<T>(), y.numel(), channels, plane,
           y.data<T>());
  });
}

}  // namespace

void register_elementwise() {
  kernels::unary.add(Device::cuda, "naive", unary_naive);
  kernels::unary_backward.add(Device::cuda, "naive", unary_backward_naive);
  kernels::binary.add(Device::cuda, "naive", binary_naive);
  kernels::add_bias.add(Device::cuda, "naive", add_bias_naive);
}

}  // namespace asap::cuda
