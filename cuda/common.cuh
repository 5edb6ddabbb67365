// What every .cu file stands on: the runtime's header or its emulation, launches, error checks, shared memory, warp and
// block sums. Kernels are plain CUDA C++ but for three things that a host compiler cannot read and that stand behind names
// here and in mma.cuh: launches, shared memory, and inline PTX. The card and its queue are context.h's.
// Rules for kernels: a warp operation takes all 32 lanes (kAllLanes); every thread of a block reaches every barrier, so no
// early return before one; no floating-point atomics (the order of a sum would change from run to run).
#pragma once

#if defined(ASAP_CUDA_EMULATE)
#include "cuda/emulate/cuda_runtime.h"
#include "cuda/emulate/shared_array.h"
#else
#include <cuda_runtime.h>
#endif

#include <source_location>
#include <tuple>
#include <utility>

#include "cuda/context.h"
#include "tensor/kernels.h"

namespace asap::cuda {

constexpr unsigned kAllLanes = 0xFFFFFFFFu;
constexpr int kWarp = 32;
constexpr int kBlock = 256;  // threads of a block where nothing speaks for another number

// Throws asap::Error with expression, file, line and the runtime's text.
void check(cudaError_t error, const char* expression, std::source_location where);
#define ASAP_CUDA_CHECK(expression) ::asap::cuda::check((expression), #expression, std::source_location::current())

// The queue that all work of this process goes to, in order.
cudaStream_t stream();

// ---- launching ------------------------------------------------------------------------------------------------------

// Blocks, threads a block, bytes of dynamic shared memory; remembers where the launch stands for error texts. On compute
// capability 9.0 and later also what hopper.cuh has use for: Launch(...).in_clusters(4).overlapping().
struct Launch {
  dim3 blocks, threads;
  size_t shared_bytes;
  std::source_location where;
  unsigned cluster = 1;   // blocks, along x
  bool overlaps = false;  // starts before the kernel ahead has ended; without effect on older cards
  bool at_once = false;   // has a grid_barrier(): all its blocks must fit on the card at once
  Launch(dim3 blocks_, dim3 threads_, size_t shared_bytes_ = 0,
         std::source_location where_ = std::source_location::current())
      : blocks(blocks_), threads(threads_), shared_bytes(shared_bytes_), where(where_) {}
  Launch in_clusters(unsigned blocks_x) const {
    Launch changed = *this;
    changed.cluster = blocks_x;
    return changed;
  }
  Launch overlapping() const {
    Launch changed = *this;
    changed.overlaps = true;
    return changed;
  }
  Launch together() const {
    Launch changed = *this;
    changed.at_once = true;
    return changed;
  }
};
// Throws if the launch that was just made failed; with ASAP_CUDA_SYNC=1 waits for it, so that its own errors show here.
void check_launch(const Launch& launch);

#if defined(ASAP_CUDA_EMULATE)
// launch(kernel<T>, ...) with its own words, which begin with the name: for error texts and launched_kernels().
template <class... Parameters, class... Arguments>
void launch_named(const char* words, void (*kernel)(Parameters...), const Launch& shape, Arguments&&... arguments) {
  static_assert((!std::is_reference_v<Parameters> && ...), "kernels take their parameters by value");
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  emulate::submit({.grid = shape.blocks,
                   .block = shape.threads,
                   .shared_bytes = shape.shared_bytes,
                   .cluster = shape.cluster,
                   .overlaps = shape.overlaps,
                   .together = shape.at_once,
                   .name = emulate::note_launch(shape.where.file_name(), words)},
                  [kernel, values] { std::apply(kernel, values); });
  check_launch(shape);
}
#define launch(...) launch_named(#__VA_ARGS__, __VA_ARGS__)
#else
// Once for each kernel: lets it have as much shared memory and as large clusters as this launch needs. Throws where blocks that
// wait for each other are more than fit on the card.
void allow_launch(const void* kernel, const Launch& launch);

struct LaunchAttributes {
  cudaLaunchConfig_t config = {};
  cudaLaunchAttribute values[2] = {};
  explicit LaunchAttributes(const Launch& launch);
  LaunchAttributes(const LaunchAttributes&) = delete;
  LaunchAttributes& operator=(const LaunchAttributes&) = delete;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), const Launch& shape, Arguments&&... arguments) {
  allow_launch(reinterpret_cast<const void*>(kernel), shape);
  if (shape.cluster == 1 && !shape.overlaps) {
    kernel<<<shape.blocks, shape.threads, shape.shared_bytes, stream()>>>(
        static_cast<Parameters>(std::forward<Arguments>(arguments))...);
  } else {
    LaunchAttributes attributes(shape);
    check(
        cudaLaunchKernelEx(&attributes.config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...),
        "cudaLaunchKernelEx", shape.where);
  }
  check_launch(shape);
}
#endif

// Enough blocks of kBlock threads for `count` elements, each thread taking `per_thread` of them; at most a few for each
// multiprocessor, so that kernels walk on with for_each_index.
unsigned blocks_for(int64_t count, int64_t per_thread = 1, int threads = kBlock);

// f(i) for the calling thread's share of 0..count-1, neighbours to neighbouring threads.
template <class F>
__device__ __forceinline__ void for_each_index(int64_t count, F&& f) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step) f(i);
}

// sum = add(sum, load(i)) for i = first, first + step, .. before `end`, in this order. InFlight loads are under way together: there
// is no branch among them, so behind the end the batch's first is loaded again, and the sum that has it is not taken.
template <int InFlight, class Sum, class Load, class AddOne>
__device__ __forceinline__ Sum sum_of_loaded(Sum sum, int first, int end, int step, const Load& load,
                                             const AddOne& add) {
  for (int i = first; i < end; i += InFlight * step) {
    decltype(load(i)) values[InFlight];
#pragma unroll
    for (int b = 0; b < InFlight; ++b) values[b] = load(i + b * step < end ? i + b * step : i);
#pragma unroll
    for (int b = 0; b < InFlight; ++b) {
      const Sum next = add(sum, values[b]);
      sum = i + b * step < end ? next : sum;
    }
  }
  return sum;
}

// ---- shared memory --------------------------------------------------------------------------------------------------
// ASAP_SHARED(float, tile, [32][33]);  is  __shared__ float tile[32][33];  emulated: indices are checked, a block starts
// with NaN. Larger amounts: dynamic_shared<T>(), as many bytes as the launch says, aligned to 128.
#if defined(ASAP_CUDA_EMULATE)
#define ASAP_SHARED(type, name, dimensions) \
  using name##_array = type dimensions;     \
  static thread_local ::asap::emulate::SharedArray<name##_array> name
template <class T>
T* dynamic_shared() {
  size_t bytes = 0;
  return static_cast<T*>(emulate::dynamic_shared(bytes));
}
#else
#define ASAP_SHARED(type, name, dimensions) __shared__ __align__(16) type name dimensions
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char asap_dynamic_shared[];
  return reinterpret_cast<T*>(asap_dynamic_shared);
}
#endif

// ---- a barrier of all blocks ------------------------------------------------------------------------------------------
// All threads of all blocks of a kernel launched with Launch::together() must come. What was written to global memory
// before is seen behind. `arrived` is one number in global memory, zero before its first use: a __device__ variable.
//
// Its lower 31 bits count the blocks that have come; the first block counts for the rest of 2^31, so that the last to come,
// whichever it is, turns the top bit and leaves the lower ones zero for the next barrier: nothing is reset. Kernels may share a
// counter if each touches it behind wait_for_previous_kernel() alone: the one ahead has then ended.
//
// Why it cannot hang, though the launch is an ordinary one: the blocks fit on the card at once (launch() asks), and nothing takes
// their places for good. Kernels ahead end by themselves, and one behind starts no block before every block of this kernel has
// called let_next_kernel_start(), hence runs. All of this holds for one queue that has the card to itself.
__device__ __forceinline__ void grid_barrier(unsigned* arrived) {
  const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
  const unsigned own = blockIdx.x + blockIdx.y + blockIdx.z == 0 ? (1u << 31) - (blocks - 1) : 1;
  unsigned before = 0, now = 0;
  const auto is_complete = [&] { return (before ^ now) >> 31 != 0; };
  __syncthreads();
#if defined(ASAP_CUDA_EMULATE)
  if (threadIdx.x == 0) before = std::exchange(*arrived, *arrived + own);
  emulate::wait_for_grid();
  now = *arrived;
  if (threadIdx.x == 0 && !is_complete()) emulate::kernel_error("a grid_barrier whose counter was not left by another");
#else
  if (threadIdx.x == 0) {
    asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], %2;" : "=r"(before) : "l"(arrived), "r"(own) : "memory");
    now = before + own;
    while (!is_complete()) asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(now) : "l"(arrived) : "memory");
  }
#endif
  __syncthreads();
}

// ---- sums and maxima of a warp or block -----------------------------------------------------------------------------

struct Add {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }  // a NaN stays
};

// Every lane gets the warp's result. The order is fixed: equal inputs give equal bits.
template <class T, class Op = Add>
__device__ __forceinline__ T warp_reduce(T value, Op op = {}) {
#pragma unroll
  for (int bits = kWarp / 2; bits > 0; bits /= 2) value = op(value, __shfl_xor_sync(kAllLanes, value, bits));
  return value;
}

// Every thread gets the block's result. blockDim.x threads in x alone, a multiple of 32; all threads must call it.
template <class T, class Op = Add>
__device__ __forceinline__ T block_reduce(T value, T neutral, Op op = {}) {
  ASAP_SHARED(T, partial, [kWarp]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warp_reduce(value, op);
  __syncthreads();  // an earlier call's partial results may still be read
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = lane < static_cast<int>(blockDim.x) / kWarp ? partial[lane] : neutral;
  return warp_reduce(value, op);
}

__host__ __device__ constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Elements from one pixel of a channels-last x to the next.
inline int64_t pixel_stride(const Tensor& x) {
  return x.size(3) > 1 ? x.strides()[3] : x.size(2) > 1 ? x.strides()[2] : x.size(0) > 1 ? x.strides()[0] : x.size(1);
}

}  // namespace asap::cuda
