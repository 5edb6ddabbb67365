// Instance and batch norm with a fused LeakyReLU, and their gradients. With xhat = (x - mean) * rstd and u = act'(.) * dy:
//   dx = gamma * rstd * (u - mean(u) - xhat * mean(u * xhat)),  dgamma = sum(u * xhat),  dbeta = sum(u)
// `plane` holds a plane in registers, so that everything is read once; `split` spreads a group over many blocks, which read
// twice: the second time from the last chunk to the first, since what was read last is still in the cache. Variances are sums of
// (x - mean)^2, never E[x^2] - E[x]^2. Sums are in an order that the sizes alone decide.  Next: norm.cuh.
#include <cstdint>

#include "cuda/norm.cuh"
#include "cuda/register.h"

namespace asap::cuda {
namespace {

struct ForwardArguments {
  const float *x, *gamma, *beta;
  float eps, slope;
  float *y, *mean, *rstd;
};
struct BackwardArguments {
  const float *x, *gamma, *beta, *mean, *rstd, *dy;
  float slope;
  float *dx, *dgamma, *dbeta;
};

__device__ __forceinline__ float activate(float v, float slope) { return v > 0 ? v : slope * v; }

// ---- forward, plane: one read and one write of every element, 8 bytes an element in all -----------------------------

// Sum, then squares of the differences, then the result, all from registers. share: 1 / elements of a plane.
template <int Threads, int Vectors>
__global__ void __launch_bounds__(kPlaneBlock<Threads>, 2)
    norm_plane_kernel(ForwardArguments a, NormGroups groups, float share) {
  const int rank = static_cast<int>(threadIdx.x) % Threads;
  const int64_t plane = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / Threads;
  if (Threads == kWarp && plane >= groups.count) return;  // a whole warp, and there are no barriers
  const float* x = a.x + plane * groups.plane;
  const Run run(x, static_cast<int>(groups.plane));
  Registers<Threads, Vectors> r;
  r.load(x, run, rank);
  float sum = 0, squares = 0;
  r.for_each(run, rank, [&](float& v) { sum += v; });
  const float mean = sum_over<Threads>(sum) * share;
  const ScaleShift parameters(a.gamma, a.beta, groups, plane);  // on their way while the squares are added up
  r.for_each(run, rank, [&](float& v) {
    v -= mean;
    squares += v * v;
  });
  const float rstd = rsqrtf(sum_over<Threads>(squares) * share + a.eps);
  if (rank == 0) a.mean[plane] = mean, a.rstd[plane] = rstd;
  const auto affine = parameters.affine(mean, rstd);
  r.for_each(run, rank, [&](float& v) { v = activate(affine.of_difference(v), a.slope); });
  r.store(a.y + plane * groups.plane, run, rank);
}

void forward_plane(const ForwardArguments& a, const NormGroups& groups) {
  with_registers(groups.plane, [&]<int Threads, int Vectors>() {
    const auto blocks = static_cast<unsigned>(ceil_div(groups.count * Threads, kPlaneBlock<Threads>));
    launch(norm_plane_kernel<Threads, Vectors>, {blocks, kPlaneBlock<Threads>}, a, groups,
           1 / static_cast<float>(groups.plane));
  });
}

// ---- forward, split: 12 bytes an element where x exceeds the second-level cache, else 8 from memory and 4 from there --

struct Moments {
  float mean, squares;  // of the differences from the mean
};

__global__ void __launch_bounds__(kBlock) norm_chunk_kernel(const float* x, Chunks chunks, Moments* moments) {
  const int rank = static_cast<int>(threadIdx.x);
  const float* from = x + chunks.start(static_cast<int>(blockIdx.x));
  const Run run(from, chunks.length(static_cast<int>(blockIdx.x)));
  Registers<kBlock, Chunks::kVectors> r;
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

__global__ void __launch_bounds__(kBlock, 4)
    norm_apply_kernel(ForwardArguments a, Chunks chunks, const Moments* moments) {
  const int rank = static_cast<int>(threadIdx.x), chunk = static_cast<int>(gridDim.x - 1 - blockIdx.x),
            g = chunks.group(chunk);
  const int64_t start = chunks.start(chunk);
  const ScaleShift parameters(a.gamma, a.beta, chunks.groups, g);
  const Run run(a.x + start, chunks.length(chunk));
  Registers<kBlock, Chunks::kVectors> r;
  r.load(a.x + start, run, rank);
  const Moments total = merge(moments, chunks, g);
  const float rstd = rsqrtf(total.squares / static_cast<float>(chunks.groups.size()) + a.eps);
  if (rank == 0 && chunk == chunks.of_group(g, 0)) a.mean[g] = total.mean, a.rstd[g] = rstd;
  const auto affine = parameters.affine(total.mean, rstd);
  r.for_each(run, rank, [&](float& v) { v = activate(affine(v), a.slope); });
  r.store(a.y + start, run, rank);
}

void forward_split(const ForwardArguments& a, const NormGroups& groups) {
  const Chunks chunks(groups);
  Tensor workspace = scratch(2 * chunks.count());
  auto* moments = reinterpret_cast<Moments*>(workspace.data<float>());
  const auto blocks = static_cast<unsigned>(chunks.count());
  launch(norm_chunk_kernel, {blocks, kBlock}, a.x, chunks, moments);
  launch(norm_apply_kernel, {blocks, kBlock}, a, chunks, moments);
}

// ---- backward, plane: x and dy read once, dx written once: 12 bytes an element --------------------------------------

struct Sums {
  float u, u_xhat;
};
template <int Threads>
__device__ __forceinline__ Sums sum_both(const Sums& sums) {
  return {sum_over<Threads>(sums.u), sum_over<Threads>(sums.u_xhat)};
}

// x and dy of a run in registers, turned into xhat and u, then into dx. A group's sums lie at [0][g] and [1][g].
template <int Threads, int Vectors>
struct Gradient {
  Registers<Threads, Vectors> xhat, u;

  // Returns this thread's share of the sums.
  __device__ __forceinline__ Sums load(const BackwardArguments& a, int64_t start, const Run& run, int rank,
                                       const Affine& affine, float rstd) {
    xhat.load(a.x + start, run, rank);
    u.load(a.dy + start, run, rank);
    Sums sums{0, 0};
    xhat.for_each(run, rank, u, [&](float& value, float& grad) {
      if (!(affine(value) > 0)) grad *= a.slope;
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

template <int Threads, int Vectors>
__global__ void __launch_bounds__(kPlaneBlock<Threads>)
    norm_backward_plane_kernel(BackwardArguments a, NormGroups groups, float share, float* sums) {
  const int rank = static_cast<int>(threadIdx.x) % Threads;
  const int64_t plane = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / Threads;
  if (Threads == kWarp && plane >= groups.count) return;  // a whole warp, and there are no barriers
  const int64_t start = plane * groups.plane;
  const float rstd = a.rstd[plane];
  const auto affine = ScaleShift(a.gamma, a.beta, groups, plane).affine(a.mean[plane], rstd);
  const Run run(a.x + start, static_cast<int>(groups.plane));
  Gradient<Threads, Vectors> gradient;
  const Sums total = sum_both<Threads>(gradient.load(a, start, run, rank, affine, rstd));
  if (rank == 0) sums[plane] = total.u, sums[groups.count + plane] = total.u_xhat;
  gradient.store({total.u * share, total.u_xhat * share}, affine.scale, run, rank, a.dx + start);
}

// The sum over the groups of each channel, in their order.
__global__ void norm_parameters_kernel(const float* sums, NormGroups groups, float* dgamma, float* dbeta) {
  for_each_index(groups.channels, [=](int64_t c) {
    Sums sum{0, 0};
    for (int64_t g = c; g < groups.count; g += groups.channels) sum.u += sums[g], sum.u_xhat += sums[groups.count + g];
    dbeta[c] = sum.u, dgamma[c] = sum.u_xhat;
  });
}
void add_up_parameters(const BackwardArguments& a, const NormGroups& groups, const float* sums) {
  if (!a.dgamma) return;
  launch(norm_parameters_kernel, {blocks_for(groups.channels), kBlock}, sums, groups, a.dgamma, a.dbeta);
}

void backward_plane(const BackwardArguments& a, const NormGroups& groups) {
  Tensor sums = scratch(2 * groups.count);
  with_registers(groups.plane, [&]<int Threads, int Vectors>() {
    const auto blocks = static_cast<unsigned>(ceil_div(groups.count * Threads, kPlaneBlock<Threads>));
    launch(norm_backward_plane_kernel<Threads, Vectors>, {blocks, kPlaneBlock<Threads>}, a, groups,
           1 / static_cast<float>(groups.plane), sums.data<float>());
  });
  add_up_parameters(a, groups, sums.data<float>());
}

// ---- backward, split: 12 bytes an element, and 8 more where x and dy exceed the second-level cache ------------------

__global__ void __launch_bounds__(kBlock)
    norm_backward_chunk_kernel(BackwardArguments a, Chunks chunks, Sums* partial) {
  const int rank = static_cast<int>(threadIdx.x), chunk = static_cast<int>(blockIdx.x), g = chunks.group(chunk);
  const int64_t start = chunks.start(chunk);
  const float rstd = a.rstd[g];
  const auto affine = ScaleShift(a.gamma, a.beta, chunks.groups, g).affine(a.mean[g], rstd);
  const Run run(a.x + start, chunks.length(chunk));
  Gradient<kBlock, Chunks::kVectors> gradient;
  const Sums sums = sum_both<kBlock>(gradient.load(a, start, run, rank, affine, rstd));
  if (rank == 0) partial[chunk] = sums;
}

__global__ void __launch_bounds__(kBlock)
    norm_backward_apply_kernel(BackwardArguments a, Chunks chunks, const Sums* partial, float* sums) {
  const int rank = static_cast<int>(threadIdx.x), chunk = static_cast<int>(gridDim.x - 1 - blockIdx.x),
            g = chunks.group(chunk);
  const int64_t start = chunks.start(chunk);
  const float rstd = a.rstd[g], size = static_cast<float>(chunks.groups.size());
  const auto affine = ScaleShift(a.gamma, a.beta, chunks.groups, g).affine(a.mean[g], rstd);
  const Run run(a.x + start, chunks.length(chunk));
  Gradient<kBlock, Chunks::kVectors> gradient;
  gradient.load(a, start, run, rank, affine, rstd);
  Sums total{0, 0};
  for (int k = rank; k < chunks.per_group(); k += kBlock) {
    const Sums& part = partial[chunks.of_group(g, k)];
    total.u += part.u, total.u_xhat += part.u_xhat;
  }
  total = sum_both<kBlock>(total);
  if (rank == 0 && chunk == chunks.of_group(g, 0)) sums[g] = total.u, sums[chunks.groups.count + g] = total.u_xhat;
  gradient.store({total.u / size, total.u_xhat / size}, affine.scale, run, rank, a.dx + start);
}

void backward_split(const BackwardArguments& a, const NormGroups& groups) {
  const Chunks chunks(groups);
  Tensor workspace = scratch(2 * chunks.count()), sums = scratch(2 * groups.count);
  auto* partial = reinterpret_cast<Sums*>(workspace.data<float>());
  const auto blocks = static_cast<unsigned>(chunks.count());
  launch(norm_backward_chunk_kernel, {blocks, kBlock}, a, chunks, partial);
  launch(norm_backward_apply_kernel, {blocks, kBlock}, a, chunks, partial, sums.data<float>());
  add_up_parameters(a, groups, sums.data<float>());
}

// ---- registration -----------------------------------------------------------------------------------------------------

const float* data_or_null(const Tensor& x) { return x.defined() ? x.data<float>() : nullptr; }
float* data_or_null(Tensor& x) { return x.defined() ? x.data<float>() : nullptr; }

// f32, all at the same distance from a 16-byte boundary, and counted in 31 bits.
bool takes_split(const NormGroups& groups, std::initializer_list<const Tensor*> tensors) {
  const auto offset = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()) % 16; };
  for (const Tensor* t : tensors) {
    if (t->dtype() != DType::f32 || offset(*t) != offset(**tensors.begin())) return false;
  }
  return groups.size() <= INT32_MAX && groups.count * groups.planes <= INT32_MAX;
}
bool takes_plane(const NormGroups& groups, std::initializer_list<const Tensor*> tensors) {
  return takes_split(groups, tensors) && groups.planes == 1 && groups.plane <= kLargestPlane;
}

using Takes = bool (*)(const NormGroups&, std::initializer_list<const Tensor*>);

void add_forward(const char* variant, void (*run)(const ForwardArguments&, const NormGroups&), Takes takes) {
  kernels::norm_forward.add(
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
            NormGroups(x, mean));
      },
      [=](const Tensor& x, const Tensor&, const Tensor&, const NormParams&, Tensor& y, Tensor& mean, Tensor&) {
        return takes(NormGroups(x, mean), {&x, &y});
      });
}
void add_backward(const char* variant, void (*run)(const BackwardArguments&, const NormGroups&), Takes takes) {
  kernels::norm_backward.add(
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
            NormGroups(x, mean));
      },
      [=](const Tensor& x, const Tensor&, const Tensor&, const Tensor& mean, const Tensor&, const Tensor& dy,
          const NormParams&, Tensor& dx, Tensor&, Tensor&) {
        return takes(NormGroups(x, mean), {&x, &dy, &dx});
      });
}

}  // namespace

void register_norm() {
  add_forward("plane", forward_plane, takes_plane);
  add_forward("split", forward_split, takes_split);
  add_backward("plane", backward_plane, takes_plane);
  add_backward("split", backward_split, takes_split);
}

}  // namespace asap::cuda
