// softmax and log_softmax over the middle of [outer, n, inner], forward and backward. The largest value is subtracted
// first, so no exponential overflows. Next: lane_groups.cuh; gather.cu.
#include <limits>

#include "cuda/common.cuh"
#include "cuda/lane_groups.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

// Two passes: the first finds largest value and sum together (Milakov and Gimelshein 2018: a sum so far is rescaled when a
// larger value turns up), the second, mostly from cache, writes. The floor is every input read and the output written once.
// `lanes` has a group of lanes a slice, one where slices lie side by side (inner > 1); `block_rows` a block a long row.

constexpr int kInFlight = 8;  // values that a thread asks for before it needs the first

// The threads that share a slice: how many, and how they combine their results.
struct LaneGroup {
  int size;
  template <class T, class Op = Add>
  __device__ __forceinline__ T combine(T value, T, Op op = {}) const {
    return group_reduce(value, size, op);
  }
};
struct WholeBlock {
  static constexpr int size = kBlock;
  template <class T, class Op = Add>
  __device__ __forceinline__ T combine(T value, T neutral, Op op = {}) const {
    return block_reduce(value, neutral, op);
  }
};

// A slice's elements are `stride` apart; `lane` is the thread's number in its group. n is 0 behind the last slice.
template <bool Log, class Group>
__device__ __forceinline__ void softmax_slice(const float* x, int n, int stride, int lane, Group group, float* y) {
  constexpr float kLowest = std::numeric_limits<float>::lowest();  // not -inf: exp(-inf - kLowest) is 0, not NaN
  float largest = kLowest;
  double sum = 0;  // of exp(x - largest)
  for (int j = lane; j < n; j += kInFlight * group.size) {
    float values[kInFlight], before = largest, added = 0;
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      const int at = j + k * group.size;  // behind the end: loads without branches can all be under way together
      values[k] = x[(at < n ? at : j) * stride];
      if (at >= n) values[k] = -std::numeric_limits<float>::infinity();
    }
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) largest = Max{}(values[k], largest);
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) added += expf(values[k] - largest);
    sum = sum * expf(before - largest) + added;
  }
  const float all = group.combine(largest, kLowest, Max{});
  sum = group.combine(sum * expf(largest - all), 0.0);
  const float log_sum = logf(static_cast<float>(sum)), inverse = static_cast<float>(1 / sum);
#pragma unroll 4
  for (int j = lane; j < n; j += group.size) {
    const float v = x[j * stride] - all;
    y[j * stride] = Log ? v - log_sum : expf(v) * inverse;
  }
}

template <bool Log, class Group>
__device__ __forceinline__ void softmax_backward_slice(const float* y, const float* dy, int n, int stride, int lane,
                                                       Group group, float* dx) {
  double sum = 0;
#pragma unroll 4
  for (int j = lane; j < n; j += group.size) {
    sum += Log ? static_cast<double>(dy[j * stride])
               : static_cast<double>(y[j * stride]) * static_cast<double>(dy[j * stride]);
  }
  const float all = static_cast<float>(group.combine(sum, 0.0));
#pragma unroll 4
  for (int j = lane; j < n; j += group.size) {
    const float v = y[j * stride], g = dy[j * stride];
    dx[j * stride] = Log ? g - expf(v) * all : v * (g - all);
  }
}

// 32-bit sizes, checked by can_count.
struct Sizes {
  int outer, n, inner;
  __device__ __forceinline__ int start(int k) const { return inner == 1 ? k * n : k / inner * n * inner + k % inner; }
};
Sizes sizes_of(const AxisParams& p) {
  return {static_cast<int>(p.outer), static_cast<int>(p.n), static_cast<int>(p.inner)};
}
bool can_count(const Tensor& x) {
  return x.dtype() == DType::f32 && x.numel() <= std::numeric_limits<int32_t>::max() / 2;
}

template <bool Log>
__global__ void softmax_lanes_kernel(const float* x, Sizes p, int lanes, float* y) {
  const int slices = p.outer * p.inner;
  for_each_row(slices, lanes, [&](int k, int lane) {
    const int start = k < slices ? p.start(k) : 0;
    softmax_slice<Log>(x + start, k < slices ? p.n : 0, p.inner, lane, LaneGroup{lanes}, y + start);
  });
}
template <bool Log>
__global__ void softmax_backward_lanes_kernel(const float* y, const float* dy, Sizes p, int lanes, float* dx) {
  const int slices = p.outer * p.inner;
  for_each_row(slices, lanes, [&](int k, int lane) {
    const int start = k < slices ? p.start(k) : 0;
    softmax_backward_slice<Log>(y + start, dy + start, k < slices ? p.n : 0, p.inner, lane, LaneGroup{lanes},
                                dx + start);
  });
}

template <bool Log>
__global__ void __launch_bounds__(kBlock) softmax_block_kernel(const float* x, int n, float* y) {
  const int64_t start = int64_t{blockIdx.x} * n;
  softmax_slice<Log>(x + start, n, 1, static_cast<int>(threadIdx.x), WholeBlock{}, y + start);
}
template <bool Log>
__global__ void __launch_bounds__(kBlock)
    softmax_backward_block_kernel(const float* y, const float* dy, int n, float* dx) {
  const int64_t start = int64_t{blockIdx.x} * n;
  softmax_backward_slice<Log>(y + start, dy + start, n, 1, static_cast<int>(threadIdx.x), WholeBlock{}, dx + start);
}

int lanes_of(const AxisParams& p) { return p.inner > 1 ? 1 : lanes_for(p.n, kInFlight); }

template <bool Log>
void forward_lanes(const Tensor& x, const AxisParams& p, Tensor& y) {
  const int lanes = lanes_of(p);
  launch(softmax_lanes_kernel<Log>, {blocks_for(p.outer * p.inner * lanes), kBlock}, x.data<float>(), sizes_of(p),
         lanes, y.data<float>());
}
template <bool Log>
void backward_lanes(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  const int lanes = lanes_of(p);
  launch(softmax_backward_lanes_kernel<Log>, {blocks_for(p.outer * p.inner * lanes), kBlock}, y.data<float>(),
         dy.data<float>(), sizes_of(p), lanes, dx.data<float>());
}

template <bool Log>
void forward_block_rows(const Tensor& x, const AxisParams& p, Tensor& y) {
  launch(softmax_block_kernel<Log>, {static_cast<unsigned>(p.outer), kBlock}, x.data<float>(), static_cast<int>(p.n),
         y.data<float>());
}
template <bool Log>
void backward_block_rows(const Tensor& y, const Tensor& dy, const AxisParams& p, Tensor& dx) {
  launch(softmax_backward_block_kernel<Log>, {static_cast<unsigned>(p.outer), kBlock}, y.data<float>(),
         dy.data<float>(), static_cast<int>(p.n), dx.data<float>());
}

bool has_long_rows(const Tensor& x, const AxisParams& p) {
  constexpr int64_t kLong = 1024;
  return can_count(x) && p.inner == 1 && p.n > kLong;
}

template <bool Log>
void add_variants(KernelSlot<SoftmaxFn>& forward, KernelSlot<SoftmaxBackwardFn>& backward) {
  forward.add(Device::cuda, "block_rows", forward_block_rows<Log>,
              [](const Tensor& x, const AxisParams& p, const Tensor&) { return has_long_rows(x, p); });
  forward.add(Device::cuda, "lanes", forward_lanes<Log>,
              [](const Tensor& x, const AxisParams&, const Tensor&) { return can_count(x); });
  backward.add(Device::cuda, "block_rows", backward_block_rows<Log>,
               [](const Tensor& y, const Tensor&, const AxisParams& p, const Tensor&) { return has_long_rows(y, p); });
  backward.add(Device::cuda, "lanes", backward_lanes<Log>,
               [](const Tensor& y, const Tensor&, const AxisParams&, const Tensor&) { return can_count(y); });
}

}  // namespace

void register_softmax() {
  add_variants<false>(kernels::softmax_forward, kernels::softmax_backward);
  add_variants<true>(kernels::log_softmax_forward, kernels::log_softmax_backward);
}

}  // namespace asap::cuda
