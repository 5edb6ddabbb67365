// Instance and batch norm with a fused LeakyReLU: forward, and the registration of both directions. The gradient is
// norm_backward.cu, what both share norm.cuh.
// Variants: `warp` and `block` hold a whole plane in registers, so that x is read once; `split` spreads a group over many
// blocks, which read x twice. Variances are sums of (x - mean)^2, never E[x^2] - E[x]^2.
#include <cstdint>

#include "cuda/norm.cuh"
#include "cuda/register.h"

namespace asap::cuda {

Groups instance_groups(const Tensor& x) {
  const int64_t planes = x.size(0) * x.size(1);
  return {planes, 1, x.numel() / planes, x.size(1)};
}
Groups batch_groups(const Tensor& x) { return {x.size(1), x.size(0), x.numel() / (x.size(0) * x.size(1)), x.size(1)}; }

bool is_vectorizable(const Groups& groups, std::initializer_list<const Tensor*> tensors) {
  const auto offset = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16; };
  const Tensor& first = **tensors.begin();
  for (const Tensor* t : tensors) {
    if (t->dtype() != DType::f32 || offset(*t) != offset(first)) return false;
  }
  return groups.size() <= INT32_MAX && groups.count * groups.segments <= INT32_MAX;
}

Chunks chunks_of(const Groups& groups) {
  constexpr int64_t kLarge = 4 * kBlock * kChunkVectors;
  const int64_t large = groups.count * groups.segments * ceil_div(groups.length, kLarge);
  const int64_t size = large >= 2 * card().multiprocessors ? kLarge : kLarge / 4;  // smaller ones to keep every SM busy
  return {static_cast<int>(size), static_cast<int>(ceil_div(groups.length, size)), groups};
}

namespace {

struct ForwardArguments {
  const float *x, *gamma, *beta;
  float eps, slope;
  float *y, *mean, *rstd;
};

__device__ __forceinline__ float activate(float v, float slope) { return v > 0 ? v : slope * v; }

// ---- warp, block: one read and one write of every element, 8 bytes an element in all --------------------------------

// Sum, then squares of the differences, then the result, all from registers. share: 1 / length.
template <int Threads, int Vectors>
__global__ void __launch_bounds__(Threads == kWarp ? 4 * kWarp : Threads, Threads <= 512 && Vectors <= 8 ? 2 : 1)
    norm_plane_kernel(ForwardArguments a, Groups groups, float share) {
  const int rank = static_cast<int>(threadIdx.x) % Threads;
  const int64_t plane = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / Threads;
  if (Threads == kWarp && plane >= groups.count) return;  // a whole warp, and there are no barriers
  const float* x = a.x + plane * groups.length;
  const Run run(x, static_cast<int>(groups.length));
  Registers<Threads, Vectors> r;
  r.load(x, run, rank);
  float sum = 0, squares = 0;
  r.for_each(run, rank, [&](float& v) { sum += v; });
  const float mean = sum_over<Threads>(sum) * share;
  const ScaleShift parameters(a.gamma, a.beta,
                                     groups.channel(plane));  // on their way while the squares are added up
  r.for_each(run, rank, [&](float& v) {
    v -= mean;
    squares += v * v;
  });
  const float rstd = rsqrtf(sum_over<Threads>(squares) * share + a.eps);
  if (rank == 0) a.mean[plane] = mean, a.rstd[plane] = rstd;
  const auto affine = parameters.affine(mean, rstd);
  r.for_each(run, rank, [&](float& v) { v = activate(affine.of_difference(v), a.slope); });
  r.store(a.y + plane * groups.length, run, rank);
}

template <int Threads, int Vectors>
void run_planes(const ForwardArguments& a, const Groups& groups) {
  constexpr int kThreads = Threads == kWarp ? 4 * kWarp : Threads;
  const auto blocks = static_cast<unsigned>(ceil_div(groups.count * Threads, kThreads));
  launch(norm_plane_kernel<Threads, Vectors>, {blocks, kThreads}, a, groups, 1 / static_cast<float>(groups.length));
}

constexpr int64_t kWarpPlane = Registers<kWarp, 4>::kCapacity;  // 512
constexpr int64_t kBlockPlane = Registers<512, 16>::kCapacity;  // 32768: half of a multiprocessor's registers

void forward_warp(const ForwardArguments& a, const Groups& groups) {
  groups.length <= Registers<kWarp, 2>::kCapacity ? run_planes<kWarp, 2>(a, groups) : run_planes<kWarp, 4>(a, groups);
}
void forward_block(const ForwardArguments& a, const Groups& groups) {
  const int64_t n = groups.length;
  if (n <= Registers<256, 1>::kCapacity) return run_planes<256, 1>(a, groups);
  if (n <= Registers<256, 2>::kCapacity) return run_planes<256, 2>(a, groups);
  if (n <= Registers<256, 5>::kCapacity) return run_planes<256, 5>(a, groups);    // 64 x 64 .. 71 x 71
  if (n <= Registers<512, 8>::kCapacity) return run_planes<512, 8>(a, groups);    // 128 x 128
  if (n <= Registers<1024, 5>::kCapacity) return run_planes<1024, 5>(a, groups);  // 143 x 143
  run_planes<512, 16>(a, groups);
}

// ---- split: 12 bytes an element where x exceeds the second-level cache, else 8 from memory and 4 from there ---------

struct Moments {
  float mean, squares;  // of the differences from the mean
};

template <int Vectors>
__global__ void __launch_bounds__(kBlock) norm_chunk_kernel(const float* x, Chunks chunks, Moments* moments) {
  const int rank = static_cast<int>(threadIdx.x);
  const float* from = x + chunks.start(static_cast<int>(blockIdx.x));
  const Run run(from, chunks.length(static_cast<int>(blockIdx.x)));
  Registers<kBlock, Vectors> r;
  r.load(from, run, rank);
  float sum = 0, squares = 0;
  r.for_each(run, rank, [&](float& v) { sum += v; });
  const float mean = block_reduce(sum, 0.0f) / static_cast<float>(run.length);
  r.for_each(run, rank, [&](float& v) { squares += (v - mean) * (v - mean); });
  squares = block_reduce(squares, 0.0f);
  if (rank == 0) moments[blockIdx.x] = {mean, squares};
}

// The moments of group g from those of its chunks (Chan et al. 1979), as differences from the first chunk's mean.
__device__ Moments merge(const Moments* moments, const Chunks& chunks, int g) {
  const float first = moments[chunks.of_group(g, 0)].mean;
  float sum = 0, squares = 0;
  for (int k = static_cast<int>(threadIdx.x); k < chunks.per_group(); k += kBlock) {
    const int chunk = chunks.of_group(g, k);
    sum += static_cast<float>(chunks.length(chunk)) * (moments[chunk].mean - first);
  }
  const float shift = block_reduce(sum, 0.0f) / static_cast<float>(chunks.groups.size());
  for (int k = static_cast<int>(threadIdx.x); k < chunks.per_group(); k += kBlock) {
    const int chunk = chunks.of_group(g, k);
    const float difference = moments[chunk].mean - first - shift;
    squares += moments[chunk].squares + static_cast<float>(chunks.length(chunk)) * difference * difference;
  }
  return {first + shift, block_reduce(squares, 0.0f)};
}

// Chunks from the last to the first: what the first kernel read last is still in the cache.
template <int Vectors>
__global__ void __launch_bounds__(kBlock, 4)
    norm_apply_kernel(ForwardArguments a, Chunks chunks, const Moments* moments) {
  const int rank = static_cast<int>(threadIdx.x);
  const int64_t chunk = static_cast<int64_t>(gridDim.x) - 1 - blockIdx.x, g = chunks.group(chunk),
                start = chunks.start(chunk);
  const ScaleShift parameters(a.gamma, a.beta, chunks.groups.channel(g));
  const Run run(a.x + start, chunks.length(chunk));
  Registers<kBlock, Vectors> r;
  r.load(a.x + start, run, rank);
  const Moments total = merge(moments, chunks, g);
  const float rstd = rsqrtf(total.squares / static_cast<float>(chunks.groups.size()) + a.eps);
  if (rank == 0 && chunk == chunks.of_group(g, 0)) a.mean[g] = total.mean, a.rstd[g] = rstd;
  const auto affine = parameters.affine(total.mean, rstd);
  r.for_each(run, rank, [&](float& v) { v = activate(affine(v), a.slope); });
  r.store(a.y + start, run, rank);
}

template <int Vectors>
void run_chunks(const ForwardArguments& a, const Chunks& chunks) {
  Tensor workspace = scratch(2 * chunks.count());
  auto* moments = reinterpret_cast<Moments*>(workspace.data<float>());
  const auto blocks = static_cast<unsigned>(chunks.count());
  launch(norm_chunk_kernel<Vectors>, {blocks, kBlock}, a.x, chunks, moments);
  launch(norm_apply_kernel<Vectors>, {blocks, kBlock}, a, chunks, moments);
}
void forward_split(const ForwardArguments& a, const Groups& groups) {
  const Chunks chunks = chunks_of(groups);
  chunks.size == 4 * kBlock* kChunkVectors ? run_chunks<kChunkVectors>(a, chunks)
                                           : run_chunks<kChunkVectors / 4>(a, chunks);
}

// ---- registration -----------------------------------------------------------------------------------------------------

using MakeGroups = Groups (*)(const Tensor&);

void add_forward(KernelSlot<NormForwardFn>& slot, const char* variant, MakeGroups make,
                 void (*run)(const ForwardArguments&, const Groups&), bool (*takes)(const Groups&)) {
  slot.add(
      Device::cuda, variant,
      [=](const Tensor& x, const Tensor& gamma, const Tensor& beta, const NormParams& p, Tensor& y, Tensor& mean,
          Tensor& rstd) {
        run({.x = x.data<float>(),
             .gamma = data_or_null(gamma),
             .beta = data_or_null(beta),
             .eps = static_cast<float>(p.eps),
             .slope = static_cast<float>(p.activation_slope),
             .y = y.data<float>(),
             .mean = mean.data<float>(),
             .rstd = rstd.data<float>()},
            make(x));
      },
      [=](const Tensor& x, const Tensor&, const Tensor&, const NormParams&, Tensor& y, Tensor&, Tensor&) {
        return is_vectorizable(make(x), {&x, &y}) && takes(make(x));
      });
}
void add_backward(KernelSlot<NormBackwardFn>& slot, const char* variant, MakeGroups make,
                  void (*run)(const BackwardArguments&, const Groups&), bool (*takes)(const Groups&)) {
  slot.add(
      Device::cuda, variant,
      [=](const Tensor& x, const Tensor& gamma, const Tensor& beta, const Tensor& mean, const Tensor& rstd,
          const Tensor& dy, const NormParams& p, Tensor& dx, Tensor& dgamma, Tensor& dbeta) {
        run({.x = x.data<float>(),
             .gamma = data_or_null(gamma),
             .beta = data_or_null(beta),
             .mean = mean.data<float>(),
             .rstd = rstd.data<float>(),
             .dy = dy.data<float>(),
             .slope = static_cast<float>(p.activation_slope),
             .dx = dx.data<float>(),
             .dgamma = data_or_null(dgamma),
             .dbeta = data_or_null(dbeta)},
            make(x));
      },
      [=](const Tensor& x, const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor& dy,
          const NormParams&, Tensor& dx, Tensor&, Tensor&) {
        return is_vectorizable(make(x), {&x, &dy, &dx}) && takes(make(x));
      });
}

// Planes too few to occupy the card are better split, unless splitting would cost more than it saves.
bool fills_card(const Groups& groups) {
  constexpr int64_t kAlwaysOneBlock = 4096;
  return 4 * groups.count >= card().multiprocessors || groups.length <= kAlwaysOneBlock;
}

}  // namespace

void register_norm() {
  const auto in_warp = [](const Groups& g) { return g.length <= kWarpPlane; };
  const auto any = [](const Groups&) { return true; };
  const auto long_runs = [](const Groups& g) { return g.length >= kBlock; };

  auto& forward = kernels::instance_norm_forward;
  add_forward(forward, "warp", instance_groups, forward_warp, in_warp);
  add_forward(forward, "block", instance_groups, forward_block,
              [](const Groups& g) { return g.length <= kBlockPlane && fills_card(g); });
  add_forward(forward, "split", instance_groups, forward_split, any);
  auto& backward = kernels::instance_norm_backward;
  add_backward(backward, "warp", instance_groups, norm_backward_warp, in_warp);
  add_backward(backward, "block", instance_groups, norm_backward_block,
               [](const Groups& g) { return g.length <= kBlockPlaneBackward && fills_card(g); });
  add_backward(backward, "split", instance_groups, norm_backward_split, any);

  add_forward(kernels::batch_norm_forward, "split", batch_groups, forward_split, long_runs);
  add_backward(kernels::batch_norm_backward, "split", batch_groups, norm_backward_split, long_runs);
}

}  // namespace asap::cuda
