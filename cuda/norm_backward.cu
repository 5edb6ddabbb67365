// The gradient of instance and batch norm (norm.cu has the variants' idea and their registration). With
// xhat = (x - mean) * rstd and u = act'(.) * dy:
//   dx = gamma * rstd * (u - mean(u) - xhat * mean(u * xhat)),  dgamma = sum(u * xhat),  dbeta = sum(u)
// A group's two sums are taken in f32, in an order that its size alone decides; dgamma and dbeta add up pictures in order.
#include "cuda/norm.cuh"

namespace asap::cuda {
namespace {

// Both sums over the threads of a plane.
struct Sums {
  float u, u_xhat;
};
template <int Threads>
__device__ __forceinline__ Sums sum_both(const Sums& sums) {
  return {sum_over<Threads>(sums.u), sum_over<Threads>(sums.u_xhat)};
}

// x and dy in registers, turned into xhat and u, then into dx.
template <int Threads, int Vectors>
struct Gradient {
  Registers<Threads, Vectors> xhat, u;

  // Returns this thread's share of the sums.
  __device__ __forceinline__ Sums load(const float* x, const float* dy, const Run& run, int rank,
                                       const Affine& affine, float rstd, float slope) {
    xhat.load(x, run, rank);
    u.load(dy, run, rank);
    Sums sums{0, 0};
    xhat.for_each(run, rank, u, [&](float& value, float& grad) {
      if (!(affine(value) > 0)) grad *= slope;
      value = (value - affine.mean) * rstd;
      sums.u += grad;
      sums.u_xhat += grad * value;
    });
    return sums;
  }
  __device__ __forceinline__ void store(const Sums& mean, float scale, const Run& run, int rank, float* dx) {
    u.for_each(run, rank, xhat,
               [&](float& grad, float& value) { grad = scale * (grad - mean.u - value * mean.u_xhat); });
    u.store(dx, run, rank);
  }
};

// ---- warp, block: x and dy read once, dx written once: 12 bytes an element ------------------------------------------

// sums [2][planes]: of u, of u * xhat. share: 1 / length.
template <int Threads, int Vectors>
__global__ void __launch_bounds__(Threads == kWarp ? 4 * kWarp : Threads)
    norm_backward_plane_kernel(BackwardArguments a, Groups groups, float share, float* sums) {
  const int rank = static_cast<int>(threadIdx.x) % Threads;
  const int64_t plane = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / Threads;
  if (Threads == kWarp && plane >= groups.count) return;  // a whole warp, and there are no barriers
  const int64_t start = plane * groups.length;
  const float rstd = a.rstd[plane];
  const auto affine = ScaleShift(a.gamma, a.beta, groups.channel(plane)).affine(a.mean[plane], rstd);
  const Run run(a.x + start, static_cast<int>(groups.length));
  Gradient<Threads, Vectors> gradient;
  const Sums total = sum_both<Threads>(gradient.load(a.x + start, a.dy + start, run, rank, affine, rstd, a.slope));
  if (rank == 0) sums[plane] = total.u, sums[groups.count + plane] = total.u_xhat;
  gradient.store({total.u * share, total.u_xhat * share}, affine.scale, run, rank, a.dx + start);
}

// dparameter[c] = the sum over the groups of channel c, in their order.
__global__ void norm_parameter_kernel(const float* sums, Groups groups, float* dparameter) {
  for_each_index(groups.channels, [=](int64_t c) {
    float sum = 0;
    for (int64_t g = c; g < groups.count; g += groups.channels) sum += sums[g];
    dparameter[c] = sum;
  });
}

void add_up_parameters(const BackwardArguments& a, const Groups& groups, const float* sums) {
  const auto parameter = [&](const float* from, float* to) {
    if (to) launch(norm_parameter_kernel, {blocks_for(groups.channels), kBlock}, from, groups, to);
  };
  parameter(sums + groups.count, a.dgamma);
  parameter(sums, a.dbeta);
}

template <int Threads, int Vectors>
void run_planes(const BackwardArguments& a, const Groups& groups) {
  constexpr int kThreads = Threads == kWarp ? 4 * kWarp : Threads;
  const auto blocks = static_cast<unsigned>(ceil_div(groups.count * Threads, kThreads));
  Tensor sums = scratch(2 * groups.count);
  launch(norm_backward_plane_kernel<Threads, Vectors>, {blocks, kThreads}, a, groups,
         1 / static_cast<float>(groups.length), sums.data<float>());
  add_up_parameters(a, groups, sums.data<float>());
}

// ---- split: 12 bytes an element, and 8 more where x and dy exceed the second-level cache ----------------------------

template <int Vectors>
__global__ void __launch_bounds__(kBlock)
    norm_backward_chunk_kernel(BackwardArguments a, Chunks chunks, Sums* partial) {
  const int rank = static_cast<int>(threadIdx.x);
  const int chunk = static_cast<int>(blockIdx.x), g = chunks.group(chunk);
  const int64_t start = chunks.start(chunk);
  const float rstd = a.rstd[g];
  const auto affine = ScaleShift(a.gamma, a.beta, chunks.groups.channel(g)).affine(a.mean[g], rstd);
  const Run run(a.x + start, chunks.length(chunk));
  Gradient<kBlock, Vectors> gradient;
  const Sums sums = sum_both<kBlock>(gradient.load(a.x + start, a.dy + start, run, rank, affine, rstd, a.slope));
  if (rank == 0) partial[chunk] = sums;
}

// Chunks from the last to the first: what the first kernel read last is still in the cache.
template <int Vectors>
__global__ void __launch_bounds__(kBlock)
    norm_backward_apply_kernel(BackwardArguments a, Chunks chunks, const Sums* partial, float* sums) {
  const int rank = static_cast<int>(threadIdx.x);
  const int64_t chunk = static_cast<int64_t>(gridDim.x) - 1 - blockIdx.x, g = chunks.group(chunk),
                start = chunks.start(chunk);
  const float rstd = a.rstd[g], size = static_cast<float>(chunks.groups.size());
  const auto affine = ScaleShift(a.gamma, a.beta, chunks.groups.channel(g)).affine(a.mean[g], rstd);
  const Run run(a.x + start, chunks.length(chunk));
  Gradient<kBlock, Vectors> gradient;
  gradient.load(a.x + start, a.dy + start, run, rank, affine, rstd, a.slope);
  Sums total{0, 0};
  for (int k = rank; k < chunks.per_group(); k += kBlock) {
    const Sums& part = partial[chunks.of_group(g, k)];
    total.u += part.u, total.u_xhat += part.u_xhat;
  }
  total = sum_both<kBlock>(total);
  if (rank == 0 && chunk == chunks.of_group(g, 0)) sums[g] = total.u, sums[chunks.groups.count + g] = total.u_xhat;
  gradient.store({total.u / size, total.u_xhat / size}, affine.scale, run, rank, a.dx + start);
}

template <int Vectors>
void run_chunks(const BackwardArguments& a, const Chunks& chunks) {
  Tensor workspace = scratch(2 * chunks.count()), sums = scratch(2 * chunks.groups.count);
  auto* partial = reinterpret_cast<Sums*>(workspace.data<float>());
  const auto blocks = static_cast<unsigned>(chunks.count());
  launch(norm_backward_chunk_kernel<Vectors>, {blocks, kBlock}, a, chunks, partial);
  launch(norm_backward_apply_kernel<Vectors>, {blocks, kBlock}, a, chunks, partial, sums.data<float>());
  add_up_parameters(a, chunks.groups, sums.data<float>());
}

}  // namespace

void norm_backward_warp(const BackwardArguments& a, const Groups& groups) {
  groups.length <= Registers<kWarp, 2>::kCapacity ? run_planes<kWarp, 2>(a, groups) : run_planes<kWarp, 4>(a, groups);
}
void norm_backward_block(const BackwardArguments& a, const Groups& groups) {
  const int64_t n = groups.length;
  if (n <= Registers<256, 1>::kCapacity) return run_planes<256, 1>(a, groups);
  if (n <= Registers<256, 2>::kCapacity) return run_planes<256, 2>(a, groups);
  if (n <= Registers<256, 5>::kCapacity) return run_planes<256, 5>(a, groups);  // 64 x 64 .. 71 x 71
  if (n <= Registers<512, 5>::kCapacity) return run_planes<512, 5>(a, groups);
  run_planes<512, 9>(a, groups);  // 128 x 128 .. 135 x 135
}
void norm_backward_split(const BackwardArguments& a, const Groups& groups) {
  const Chunks chunks = chunks_of(groups);
  chunks.size == 4 * kBlock* kChunkVectors ? run_chunks<kChunkVectors>(a, chunks)
                                           : run_chunks<kChunkVectors / 4>(a, chunks);
}

}  // namespace asap::cuda
