// Rows of contiguous memory, each worked on by a group of neighbouring lanes: as many lanes as the row can feed, so that
// short rows do not leave most of a warp idle. Used by reduce.cu.
#pragma once

#include "cuda/common.cuh"

namespace asap::cuda {

// A row's lanes, a power of two, when each lane should have about `per_lane` of its n elements.
inline int lanes_for(int64_t n, int64_t per_lane) {
  int lanes = 1;
  while (lanes < kWarp && lanes * per_lane < n) lanes *= 2;
  return lanes;
}

// Every lane gets its group's result; all lanes of the warp must call it.
template <class T, class Op = Add>
__device__ __forceinline__ T group_reduce(T value, int lanes, Op op = {}) {
  for (int bits = lanes / 2; bits > 0; bits /= 2) value = op(value, __shfl_xor_sync(kAllLanes, value, bits));
  return value;
}

// f(row, lane) for every row, lane being the thread's number in the row's group. A warp's lanes call f together, also for
// rows >= `rows` behind the last one, so that f may call group_reduce.
template <class F>
__device__ __forceinline__ void for_each_row(int rows, int lanes, F&& f) {
  const int group = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / lanes,
            lane = static_cast<int>(threadIdx.x) % lanes;
  const int step = static_cast<int>(gridDim.x * blockDim.x) / lanes, in_warp = kWarp / lanes;
  for (int first = group / in_warp * in_warp; first < rows; first += step) f(first + group % in_warp, lane);
}

}  // namespace asap::cuda
