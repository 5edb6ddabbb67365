// What the normalisation kernels share: which elements a group is made of, and the expression that forward and backward
// both evaluate. Variants: norm.cu (forward), norm_backward.cu.
#pragma once

#include <initializer_list>

#include "cuda/common.cuh"

namespace asap::cuda {

// Group g, the elements that share a mean, consists of `segments` runs of `length` elements: one plane of one picture, or a
// channel's planes in all pictures. Run s of group g starts at (s * count + g) * length; its channel is g % channels.
struct Groups {
  int64_t count, segments, length, channels;
  __host__ __device__ int64_t size() const { return segments * length; }
  __device__ int channel(int64_t g) const {
    return static_cast<int>(static_cast<uint32_t>(g) % static_cast<uint32_t>(channels));
  }
};
Groups instance_groups(const Tensor& x);
Groups batch_groups(const Tensor& x);

inline const float* data_or_null(const Tensor& x) { return x.defined() ? x.data<float>() : nullptr; }
inline float* data_or_null(Tensor& x) { return x.defined() ? x.data<float>() : nullptr; }

// v = (x - mean) * scale + shift; y = v > 0 ? v : slope * v. The fused multiply-add is spelt out: forward and backward must
// agree on v's sign to the last bit.
struct Affine {
  float mean, scale, shift;
  __device__ float operator()(float x) const { return of_difference(x - mean); }
  __device__ float of_difference(float d) const { return std::fma(d, scale, shift); }
};
// gamma and beta of one channel.
struct ScaleShift {
  float scale, shift;
  __device__ ScaleShift(const float* gamma, const float* beta, int channel)
      : scale(gamma ? gamma[channel] : 1.0f), shift(beta ? beta[channel] : 0.0f) {}
  __device__ Affine affine(float mean, float rstd) const { return {mean, scale * rstd, shift}; }
};

// ---- what the variants share: a run of elements held in registers ------------------------------------------

// A run is read 16 bytes at a time from its first 16-byte boundary on, whatever its address: planes of odd sizes, as the
// discriminator's, start anywhere. `head` elements lie before the boundary, and with those behind the last whole vector they
// are the run's extras, at most 6.
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

// The sum over the `Threads` threads of a plane: a warp or a block.
template <int Threads>
__device__ __forceinline__ float sum_over(float value) {
  if constexpr (Threads == kWarp) {
    return warp_reduce(value);
  } else {
    return block_reduce(value, 0.0f);
  }
}

// Runs cut into chunks for one block each, and the numbers that the block of chunk c of run r leaves at [r][c]. A group's
// are added up by every block that needs the total, always in the same order.
struct Chunks {
  int size, per_run;
  Groups groups;
  int count() const { return static_cast<int>(groups.count * groups.segments) * per_run; }
  __device__ int group(int chunk) const { return chunk / per_run % static_cast<int>(groups.count); }
  __device__ int64_t start(int chunk) const { return chunk / per_run * groups.length + chunk % per_run * size; }
  __device__ int length(int chunk) const { return min(size, static_cast<int>(groups.length) - chunk % per_run * size); }
  // Number k of the chunks of group g.
  __device__ int of_group(int g, int k) const {
    return (k / per_run * static_cast<int>(groups.count) + g) * per_run + k % per_run;
  }
  __device__ int per_group() const { return static_cast<int>(groups.segments) * per_run; }
};

constexpr int kChunkVectors = 8;  // float4s a thread of a large chunk, 8192 elements; small ones have a quarter
Chunks chunks_of(const Groups& groups);

// Whether the variants take these tensors: f32, and all at the same distance from a 16-byte boundary.
bool is_vectorizable(const Groups& groups, std::initializer_list<const Tensor*> tensors);

// ---- variants ---------------------------------------------------------------------------------------------------------

struct BackwardArguments {
  const float *x, *gamma, *beta, *mean, *rstd, *dy;
  float slope;
  float *dx, *dgamma, *dbeta;
};
void norm_backward_warp(const BackwardArguments& arguments, const Groups& groups);
void norm_backward_block(const BackwardArguments& arguments, const Groups& groups);
void norm_backward_split(const BackwardArguments& arguments, const Groups& groups);
constexpr int64_t kBlockPlaneBackward = Registers<512, 9>::kCapacity;  // 18432: x and dy of 129 x 129 fit

}  // namespace asap::cuda
