// What the kernels of norm.cu are made of: runs of elements held in registers, and the expression that forward and backward
// both evaluate.
#pragma once

#include <initializer_list>

#include "cuda/common.cuh"
#include "tensor/definitions/norm.h"

namespace asap::cuda {

using definitions::NormGroups;

// v = (x - mean) * scale + shift; y = v > 0 ? v : slope * v. The fused multiply-add is spelt out: forward and backward must
// agree on v's sign to the last bit.
struct Affine {
  float mean, scale, shift;
  __device__ float operator()(float x) const { return of_difference(x - mean); }
  __device__ float of_difference(float d) const { return std::fma(d, scale, shift); }
};
// gamma and beta of group g.
struct ScaleShift {
  float scale, shift;
  __device__ ScaleShift(const float* gamma, const float* beta, const NormGroups& groups, int64_t g) {
    const auto channel = static_cast<uint32_t>(g) % static_cast<uint32_t>(groups.channels);
    scale = gamma ? gamma[channel] : 1.0f, shift = beta ? beta[channel] : 0.0f;
  }
  __device__ Affine affine(float mean, float rstd) const { return {mean, scale * rstd, shift}; }
};

// A run of elements is read 16 bytes at a time from its first 16-byte boundary on, whatever its address: planes of odd sizes,
// as the discriminator's, start anywhere. `head` elements lie before the boundary, and with those behind the last whole vector
// they are the run's extras, at most 6.
struct Run {
  int length, head, vectors;
  __device__ Run(const float* x, int n)
      : length(n), head(min(n, static_cast<int>(-(reinterpret_cast<intptr_t>(x) >> 2) & 3))), vectors((n - head) / 4) {}
  __device__ int extras() const { return length - 4 * vectors; }
  __device__ int extra_position(int i) const { return i < head ? i : i + 4 * vectors; }
};

// What one of `Threads` threads holds of a run of at most 4 * Threads * Vectors + 3 elements: float4s Threads apart and one extra.
template <int Threads, int Vectors>
struct Registers {
  static constexpr int kCapacity = 4 * Threads * Vectors;
  float4 vector[Vectors];
  float extra;

  // Places that the run does not reach hold 0.
  __device__ __forceinline__ void load(const float* x, const Run& run, int rank) {
    const auto* from = reinterpret_cast<const float4*>(x + run.head);
#pragma unroll
    for (int k = 0; k < Vectors; ++k) {
      vector[k] = rank + k * Threads < run.vectors ? from[rank + k * Threads] : make_float4(0, 0, 0, 0);
    }
    extra = rank < run.extras() ? x[run.extra_position(rank)] : 0;
  }
  __device__ __forceinline__ void store(float* y, const Run& run, int rank) const {
    auto* to = reinterpret_cast<float4*>(y + run.head);
#pragma unroll
    for (int k = 0; k < Vectors; ++k) {
      if (rank + k * Threads < run.vectors) to[rank + k * Threads] = vector[k];
    }
    if (rank < run.extras()) y[run.extra_position(rank)] = extra;
  }
  // Calls f(element of this, the same of `other`) for every place that the run reaches.
  template <class F>
  __device__ __forceinline__ void for_each(const Run& run, int rank, Registers& other, F&& f) {
#pragma unroll
    for (int k = 0; k < Vectors; ++k) {
      if (rank + k * Threads >= run.vectors) continue;
      f(vector[k].x, other.vector[k].x);
      f(vector[k].y, other.vector[k].y);
      f(vector[k].z, other.vector[k].z);
      f(vector[k].w, other.vector[k].w);
    }
    if (rank < run.extras()) f(extra, other.extra);
  }
  template <class F>
  __device__ __forceinline__ void for_each(const Run& run, int rank, F&& f) {
    for_each(run, rank, *this, [&](float& a, float&) { f(a); });
  }
};

// The sum over the `Threads` threads of a run: a warp or a block.
template <int Threads>
__device__ __forceinline__ float sum_over(float value) {
  if constexpr (Threads == kWarp) {
    return warp_reduce(value);
  } else {
    return block_reduce(value, 0.0f);
  }
}

// ---- plane: a whole plane in the registers of a warp or a block -----------------------------------------------------

constexpr int64_t kLargestPlane = Registers<512, 9>::kCapacity;  // 18432

// Calls f.operator()<Threads, Vectors>() with those that hold a plane of n elements.
template <class F>
void with_registers(int64_t n, const F& f) {
  if (n <= Registers<kWarp, 2>::kCapacity) return f.template operator()<kWarp, 2>();  // 16 x 16
  if (n <= Registers<kWarp, 4>::kCapacity) return f.template operator()<kWarp, 4>();
  if (n <= Registers<256, 1>::kCapacity) return f.template operator()<256, 1>();  // 32 x 32
  if (n <= Registers<256, 2>::kCapacity) return f.template operator()<256, 2>();
  if (n <= Registers<256, 5>::kCapacity) return f.template operator()<256, 5>();  // 64 x 64 .. 71 x 71
  f.template operator()<512, 9>();                                                // 128 x 128 .. 135 x 135
}

// Threads of a block: four planes of a warp each, or one.
template <int Threads>
constexpr int kPlaneBlock = Threads == kWarp ? 4 * kWarp : Threads;

// ---- split: planes cut into chunks for a block each -----------------------------------------------------------------

// The numbers that the block of chunk c of plane p leaves at [p][c]. A group's are added up by every block that needs the total,
// always in the same order.
struct Chunks {
  static constexpr int kVectors = 4, kSize = Registers<kBlock, kVectors>::kCapacity;  // 4096 elements
  NormGroups groups;
  int per_plane;

  explicit Chunks(const NormGroups& g) : groups(g), per_plane(static_cast<int>(ceil_div(g.plane, kSize))) {}
  int count() const { return static_cast<int>(groups.count * groups.planes) * per_plane; }
  __device__ int group(int chunk) const { return chunk / per_plane % static_cast<int>(groups.count); }
  __device__ int64_t start(int chunk) const { return chunk / per_plane * groups.plane + chunk % per_plane * kSize; }
  __device__ int length(int chunk) const {
    return min(kSize, static_cast<int>(groups.plane) - chunk % per_plane * kSize);
  }
  // Number k of the chunks of group g.
  __device__ int of_group(int g, int k) const {
    return (k / per_plane * static_cast<int>(groups.count) + g) * per_plane + k % per_plane;
  }
  __device__ int per_group() const { return static_cast<int>(groups.planes) * per_plane; }
};

}  // namespace asap::cuda
