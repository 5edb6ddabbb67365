// Elementwise kernels: unary, its derivative, binary with broadcasting, and the channel bias. The functions themselves are
// the CPU's: tensor/elementwise_functions.h. `naive` walks any strides; `vectorized` compiles one kernel per operation that
// moves 16 bytes a thread wherever the operands allow it. Next: strided.cuh.
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

// ---- vectorized -----------------------------------------------------------------------------------------------------
// All of them are one kernel: y = f(x0, ..) over a FastIndex. Bound by memory: the floor is every input read and y
// written once. Broadcast operands are read again from cache.

template <UnaryOp op>
struct UnaryFunction {
  float a, b;
  __device__ float operator()(float x) const { return evaluate(op, x, a, b); }
};
template <UnaryOp op>
struct UnaryGradient {
  float a, b;
  __device__ float operator()(float saved, float dy) const { return derivative(op, saved, a, b) * dy; }
};
template <BinaryOp op>
struct BinaryFunction {
  __device__ float operator()(float a, float b) const { return evaluate(op, a, b); }
};

template <int Inputs>
struct Sources {
  const float* x[Inputs];
};

template <class F>
__device__ __forceinline__ float apply(const F& f, const float (&x)[1]) {
  return f(x[0]);
}
template <class F>
__device__ __forceinline__ float apply(const F& f, const float (&x)[2]) {
  return f(x[0], x[1]);
}

// Steps of Width elements, and as many of them at once as make four elements. y may be one of the inputs: a thread reads
// its elements before it writes them.
template <int Width>
constexpr int kBatch = 4 / Width;

template <int Width, int Inputs, class F>
__global__ void map_kernel(F f, Sources<Inputs> sources, FastIndex<Inputs + 1> index, float* y) {
  using Floats = Vector<float, Width>;
  Floats in[kBatch<Width>][Inputs];
  int to[kBatch<Width>];
  const auto load = [&](unsigned b, unsigned i) {
    int offset[Inputs + 1];
    index.offsets(i, offset);
#pragma unroll
    for (int k = 0; k < Inputs; ++k) {
      const float* x = sources.x[k] + offset[k];
      if (Width > 1 && index.repeats(k)) {
        const float value = *x;
        for (float& v : in[b][k].v) v = value;
      } else {
        in[b][k] = *reinterpret_cast<const Floats*>(x);
      }
    }
    to[b] = offset[Inputs];
  };
  const auto store = [&](unsigned b) {
    Floats out;
#pragma unroll
    for (int j = 0; j < Width; ++j) {
      float x[Inputs];
      for (int k = 0; k < Inputs; ++k) x[k] = in[b][k].v[j];
      out.v[j] = apply(f, x);
    }
    *reinterpret_cast<Floats*>(y + to[b]) = out;
  };
  for_each_batch<kBatch<Width>>(index.count, load, store);
  if (Width == 1) return;
  for_each_index(index.tail(), [&](int64_t i) {
    int offset[Inputs + 1];
    index.tail_offsets(static_cast<int>(i), offset);
    float x[Inputs];
    for (int k = 0; k < Inputs; ++k) x[k] = sources.x[k][offset[k]];
    y[offset[Inputs]] = apply(f, x);
  });
}

// tensors: the inputs, then y, all of one shape.
template <class F, size_t Tensors>
void map(const F& f, const std::array<const Tensor*, Tensors>& tensors, Tensor& y) {
  constexpr int kInputs = static_cast<int>(Tensors) - 1, kWidth = 4;
  FastIndex<kInputs + 1> index(tensors);
  Sources<kInputs> sources;
  for (size_t k = 0; k < kInputs; ++k) sources.x[k] = tensors[k]->template data<float>();
  if (index.can_widen(kWidth, tensors)) {
    index.widen(kWidth);
    launch(map_kernel<kWidth, kInputs, F>, {blocks_for(index.count), kBlock}, f, sources, index, y.data<float>());
  } else {
    launch(map_kernel<1, kInputs, F>, {blocks_for(index.count, kBatch<1>), kBlock}, f, sources, index, y.data<float>());
  }
}

template <size_t Tensors>
bool can_map(const std::array<const Tensor*, Tensors>& tensors) {
  return tensors[0]->dtype() == DType::f32 && FastIndex<static_cast<int>(Tensors)>::fits(tensors);
}

void unary_vectorized(UnaryOp op, const Tensor& x, const UnaryParams& params, Tensor& y) {
  with_constant(op, [&](auto constant) {
    const UnaryFunction<decltype(constant)::value> f{static_cast<float>(params.a), static_cast<float>(params.b)};
    map(f, std::array<const Tensor*, 2>{&x, &y}, y);
  });
}

void unary_backward_vectorized(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params,
                               Tensor& dx) {
  with_constant(op, [&](auto constant) {
    const UnaryGradient<decltype(constant)::value> f{static_cast<float>(params.a), static_cast<float>(params.b)};
    map(f, std::array<const Tensor*, 3>{&saved, &dy, &dx}, dx);
  });
}

void binary_vectorized(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  with_constant(op, [&](auto constant) {
    map(BinaryFunction<decltype(constant)::value>{}, std::array<const Tensor*, 3>{&a, &b, &y}, y);
  });
}

}  // namespace

void register_elementwise() {
  kernels::unary.add(Device::cuda, "vectorized", unary_vectorized,
                     [](UnaryOp, const Tensor& x, const UnaryParams&, const Tensor& y) {
                       return can_map(std::array{&x, &y});
                     },
                     {.strided = true});
  kernels::unary.add(Device::cuda, "naive", unary_naive, {}, {.strided = true});
  kernels::unary_backward.add(Device::cuda, "vectorized", unary_backward_vectorized,
                              [](UnaryOp, const Tensor& saved, const Tensor& dy, const UnaryParams&, const Tensor& dx) {
                                return can_map(std::array{&saved, &dy, &dx});
                              },
                              {.strided = true});
  kernels::unary_backward.add(Device::cuda, "naive", unary_backward_naive);
  kernels::binary.add(Device::cuda, "vectorized", binary_vectorized,
                      [](BinaryOp, const Tensor& a, const Tensor& b, const Tensor& y) {
                        return can_map(std::array{&a, &b, &y});
                      },
                      {.strided = true});
  kernels::binary.add(Device::cuda, "naive", binary_naive, {}, {.strided = true});
}

}  // namespace asap::cuda
