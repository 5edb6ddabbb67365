// Spectral norm: a weight divided by an estimate of its largest singular value (contract: tensor/kernels.h). `fused`: forward
// in three launches (two in evaluation), backward in two. The norms that stand between the steps cost no launch of their
// own: every block of the next kernel adds up the short vector before it. Next: nn/spectral_norm.h, the layer.
#include <limits>

#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"

namespace asap::cuda {
namespace {

// W, row-major.
struct Weight {
  const float* data;
  int rows, columns;
  explicit Weight(const Tensor& w)
      : data(w.data<float>()), rows(static_cast<int>(w.size(0))), columns(static_cast<int>(w.numel() / w.size(0))) {}
  __device__ __forceinline__ const float* row(int r) const { return data + int64_t{r} * columns; }
};

// Kernels read and write Width neighbouring elements at once: 4 where rows and addresses allow it. All but the first have
// a block for each row.

template <int Width>
using Floats = Vector<float, Width>;
template <int Width>
__device__ __forceinline__ const Floats<Width>& floats_at(const float* from) {
  return *reinterpret_cast<const Floats<Width>*>(from);
}

// use(i, load(i)) for i = first, first + step, .. before `end`. Behind the end the first one is loaded again and not used:
// loads without branches are under way together.
template <int InFlight, class Load, class Use>
__device__ __forceinline__ void for_each_loaded(int first, int end, int step, const Load& load, const Use& use) {
  for (int i = first; i < end; i += InFlight * step) {
    decltype(load(i)) values[InFlight];
#pragma unroll
    for (int k = 0; k < InFlight; ++k) values[k] = load(i + k * step < end ? i + k * step : i);
#pragma unroll
    for (int k = 0; k < InFlight; ++k) {
      if (i + k * step < end) use(i + k * step, values[k]);
    }
  }
}

// The same for the block's row: i is a column, a multiple of Width.
template <int Width, class Load, class Use>
__device__ __forceinline__ void for_each_in_row(int columns, const Load& load, const Use& use) {
  for_each_loaded<4>(static_cast<int>(threadIdx.x) * Width, columns, kBlock * Width, load, use);
}

// y = W^T u, not yet normalised. A block has kStrip columns, 128 bytes of each row; its threads share the rows.
constexpr int kStrip = 32, kStripThreads = 512, kStripWarps = kStripThreads / kWarp;
template <int Width>
__global__ void __launch_bounds__(kStripThreads) transposed_product_kernel(Weight w, const float* u, float* y) {
  ASAP_SHARED(float, partial, [kStripWarps][kStrip]);
  constexpr int kAcross = kStrip / Width;  // threads for each row
  const int t = static_cast<int>(threadIdx.x), lane = t % kWarp, strip = static_cast<int>(blockIdx.x) * kStrip;
  const int column = strip + t % kAcross * Width;
  struct Row {
    Floats<Width> w;
    float u;
  };
  float sums[Width] = {};
  for_each_loaded<8>(
      t / kAcross, column < w.columns ? w.rows : 0, kStripThreads / kAcross,
      [&](int r) {
        return Row{floats_at<Width>(w.row(r) + column), u[r]};
      },
      [&](int, const Row& row) {
#pragma unroll
        for (int j = 0; j < Width; ++j) sums[j] += row.w.v[j] * row.u;
      });
#pragma unroll
  for (int j = 0; j < Width; ++j) {
#pragma unroll
    for (int bits = kAcross; bits < kWarp; bits *= 2) sums[j] += __shfl_xor_sync(kAllLanes, sums[j], bits);
    if (lane < kAcross) partial[t / kWarp][lane * Width + j] = sums[j];
  }
  __syncthreads();
  if (t >= kStrip || strip + t >= w.columns) return;
  float sum = 0;
#pragma unroll
  for (int warp = 0; warp < kStripWarps; ++warp) sum += partial[warp][t];
  y[strip + t] = sum;
}

// product = W v, where v is `direction`, normalised first and written if this is a power iteration.
template <int Width>
__global__ void __launch_bounds__(kBlock) product_kernel(Weight w, const float* direction, bool power_iteration,
                                                         float eps, float* v, float* kept_v, float* product) {
  const float* row = w.row(static_cast<int>(blockIdx.x));
  struct Pair {
    Floats<Width> w, v;
  };
  float sum = 0, squares = 0;
  for_each_in_row<Width>(
      w.columns,
      [&](int c) {
        return Pair{floats_at<Width>(row + c), floats_at<Width>(direction + c)};
      },
      [&](int, const Pair& x) {
#pragma unroll
        for (int j = 0; j < Width; ++j) {
          sum += x.w.v[j] * x.v.v[j];
          squares += x.v.v[j] * x.v.v[j];
        }
      });
  sum = block_reduce(sum, 0.0f);
  const float norm = power_iteration ? fmaxf(sqrtf(block_reduce(squares, 0.0f)), eps) : 1.0f;
  if (threadIdx.x == 0) product[blockIdx.x] = sum / norm;
  for_each_index(w.columns, [=](int64_t c) {
    const float value = direction[c] / norm;
    kept_v[c] = value;
    if (power_iteration) v[c] = value;
  });
}

// y = W / sigma, sigma = u^T product, where u is product, normalised, if this is a power iteration.
template <int Width>
__global__ void __launch_bounds__(kBlock) divide_kernel(Weight w, const float* product, bool power_iteration,
                                                        float eps, float* u, float* y, float* sigma, float* kept_u) {
  const float* from = power_iteration ? product : u;
  float sum = 0;
  for (int r = static_cast<int>(threadIdx.x); r < w.rows; r += kBlock) sum += from[r] * product[r];
  sum = block_reduce(sum, 0.0f);
  const float norm = power_iteration ? fmaxf(sqrtf(sum), eps) : 1.0f, s = sum / norm;
  const float* row = w.row(static_cast<int>(blockIdx.x));
  float* to = y + int64_t{blockIdx.x} * w.columns;
  for_each_in_row<Width>(
      w.columns, [&](int c) { return floats_at<Width>(row + c); },
      [&](int c, Floats<Width> x) {
#pragma unroll
        for (int j = 0; j < Width; ++j) x.v[j] /= s;
        *reinterpret_cast<Floats<Width>*>(to + c) = x;
      });
  for_each_index(w.rows, [=](int64_t r) {
    const float value = from[r] / norm;
    kept_u[r] = value;
    if (power_iteration) u[r] = value;
  });
  if (blockIdx.x == 0 && threadIdx.x == 0) *sigma = s;
}

// partial[row] = sum of dy * w over the row.
template <int Width>
__global__ void __launch_bounds__(kBlock) weight_product_kernel(Weight w, const float* dy, float* partial) {
  const float *row = w.row(static_cast<int>(blockIdx.x)), *dy_row = dy + (row - w.data);
  struct Pair {
    Floats<Width> w, dy;
  };
  float sum = 0;
  for_each_in_row<Width>(
      w.columns,
      [&](int c) {
        return Pair{floats_at<Width>(row + c), floats_at<Width>(dy_row + c)};
      },
      [&](int, const Pair& x) {
#pragma unroll
        for (int j = 0; j < Width; ++j) sum += x.w.v[j] * x.dy.v[j];
      });
  sum = block_reduce(sum, 0.0f);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// dw = dy / sigma - sum(partial) / sigma^2 u v^T.
template <int Width>
__global__ void __launch_bounds__(kBlock)
    weight_grad_kernel(int rows, int columns, const float* partial, const float* u, const float* v, const float* sigma,
                       const float* dy, float* dw) {
  float sum = 0;
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += kBlock) sum += partial[r];
  sum = block_reduce(sum, 0.0f);
  const float scale = 1 / *sigma, share = sum * scale * scale * u[blockIdx.x];
  const int64_t begin = int64_t{blockIdx.x} * columns;
  struct Pair {
    Floats<Width> dy, v;
  };
  for_each_in_row<Width>(
      columns,
      [&](int c) {
        return Pair{floats_at<Width>(dy + begin + c), floats_at<Width>(v + c)};
      },
      [&](int c, const Pair& x) {
        Floats<Width> result;
#pragma unroll
        for (int j = 0; j < Width; ++j) result.v[j] = x.dy.v[j] * scale - share * x.v.v[j];
        *reinterpret_cast<Floats<Width>*>(dw + begin + c) = result;
      });
}

template <int Width>
void forward_fused(const Weight& w, const SpectralNormParams& params, Tensor& u, Tensor& v, Tensor& y,
                   Tensor& sigma, Tensor& kept_u, Tensor& kept_v) {
  const bool iterate = params.power_iteration;
  const float eps = static_cast<float>(params.eps);
  const auto rows = static_cast<unsigned>(w.rows);
  Tensor unnormalized = scratch(w.columns), product = scratch(w.rows);
  if (iterate) {
    launch(transposed_product_kernel<Width>, {static_cast<unsigned>(ceil_div(w.columns, kStrip)), kStripThreads}, w,
           u.data<float>(), unnormalized.data<float>());
  }
  launch(product_kernel<Width>, {rows, kBlock}, w, iterate ? unnormalized.data<float>() : v.data<float>(), iterate, eps,
         v.data<float>(), kept_v.data<float>(), product.data<float>());
  launch(divide_kernel<Width>, {rows, kBlock}, w, product.data<float>(), iterate, eps, u.data<float>(), y.data<float>(),
         sigma.data<float>(), kept_u.data<float>());
}

template <int Width>
void backward_fused(const Weight& w, const Tensor& u, const Tensor& v, const Tensor& sigma, const Tensor& dy,
                    Tensor& dw) {
  const auto rows = static_cast<unsigned>(w.rows);
  Tensor partial = scratch(w.rows);
  launch(weight_product_kernel<Width>, {rows, kBlock}, w, dy.data<float>(), partial.data<float>());
  launch(weight_grad_kernel<Width>, {rows, kBlock}, w.rows, w.columns, partial.data<float>(), u.data<float>(),
         v.data<float>(), sigma.data<float>(), dy.data<float>(), dw.data<float>());
}

// Whether rows begin and end at multiples of 16 bytes in all of them.
template <class... Tensors>
bool takes_fours(const Weight& w, const Tensors&... tensors) {
  return w.columns % 4 == 0 &&
         ((reinterpret_cast<uintptr_t>(w.data) | ... | reinterpret_cast<uintptr_t>(tensors.raw())) % 16) == 0;
}

void spectral_norm_forward_fused(const Tensor& weight, const SpectralNormParams& params, Tensor& u, Tensor& v,
                                 Tensor& y, Tensor& sigma, Tensor& kept_u, Tensor& kept_v) {
  const Weight w(weight);
  (takes_fours(w, v, y) ? forward_fused<4> : forward_fused<1>)(w, params, u, v, y, sigma, kept_u, kept_v);
}

void spectral_norm_backward_fused(const Tensor& weight, const Tensor& u, const Tensor& v, const Tensor& sigma,
                                  const Tensor& dy, Tensor& dw) {
  const Weight w(weight);
  (takes_fours(w, v, dy, dw) ? backward_fused<4> : backward_fused<1>)(w, u, v, sigma, dy, dw);
}

// Columns are counted in 32 bits, beyond their end by a few strides too.
bool is_countable(const Tensor& w) {
  return w.dtype() == DType::f32 && w.numel() <= std::numeric_limits<int32_t>::max() / 2;
}

}  // namespace

void register_spectral_norm() {
  kernels::spectral_norm_forward.add(
      Device::cuda, "fused", spectral_norm_forward_fused,
      [](const Tensor& w, const SpectralNormParams&, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
         const Tensor&, const Tensor&) { return is_countable(w); });
  kernels::spectral_norm_backward.add(Device::cuda, "fused", spectral_norm_backward_fused,
                                      [](const Tensor& w, const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                                         const Tensor&) { return is_countable(w); });
}

}  // namespace asap::cuda
