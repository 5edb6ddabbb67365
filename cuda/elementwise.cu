// Elementwise kernels: unary, its derivative, binary with broadcasting. `vectorized` compiles one kernel per operation, out of
// the definitions, that takes four elements at a time wherever the operands allow it. Next: strided.cuh.
#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"
#include "tensor/definitions/elementwise.h"

namespace asap::cuda {
namespace {

// All of them are one kernel: y = f(x0, ..) over a FastIndex, f32 or bf16, computed in float. Bound by memory: the floor is
// every input read and y written once. Broadcast operands are read again from cache.

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

template <class T, int Inputs>
struct Sources {
  const T* x[Inputs];
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

template <int Width, class T, int Inputs, class F>
__global__ void map_kernel(F f, Sources<T, Inputs> sources, FastIndex<Inputs + 1> index, T* y) {
  using Elements = Vector<T, Width>;
  Elements in[kBatch<Width>][Inputs];
  int to[kBatch<Width>];
  const auto load = [&](unsigned b, unsigned i) {
    int offset[Inputs + 1];
    index.offsets(i, offset);
#pragma unroll
    for (int k = 0; k < Inputs; ++k) {
      const T* x = sources.x[k] + offset[k];
      if (Width > 1 && index.repeats(k)) {
        const T value = *x;
        for (T& v : in[b][k].v) v = value;
      } else {
        in[b][k] = *reinterpret_cast<const Elements*>(x);
      }
    }
    to[b] = offset[Inputs];
  };
  const auto store = [&](unsigned b) {
    Elements out;
#pragma unroll
    for (int j = 0; j < Width; ++j) {
      float x[Inputs];
      for (int k = 0; k < Inputs; ++k) x[k] = static_cast<float>(in[b][k].v[j]);
      out.v[j] = static_cast<T>(apply(f, x));
    }
    *reinterpret_cast<Elements*>(y + to[b]) = out;
  };
  for_each_batch<kBatch<Width>>(index.count, load, store);
  if (Width == 1) return;
  for_each_index(index.tail(), [&](int64_t i) {
    int offset[Inputs + 1];
    index.tail_offsets(static_cast<int>(i), offset);
    float x[Inputs];
    for (int k = 0; k < Inputs; ++k) x[k] = static_cast<float>(sources.x[k][offset[k]]);
    y[offset[Inputs]] = static_cast<T>(apply(f, x));
  });
}

template <class T, class F, size_t Tensors>
void map_as(const F& f, const std::array<const Tensor*, Tensors>& tensors, Tensor& y) {
  constexpr int kInputs = static_cast<int>(Tensors) - 1, kWidth = 4;
  FastIndex<kInputs + 1> index(tensors);
  Sources<T, kInputs> sources;
  for (size_t k = 0; k < kInputs; ++k) sources.x[k] = tensors[k]->template data<T>();
  if (index.can_widen(kWidth, tensors)) {
    index.widen(kWidth);
    launch(map_kernel<kWidth, T, kInputs, F>, {blocks_for(index.count), kBlock}, f, sources, index, y.data<T>());
  } else {
    launch(map_kernel<1, T, kInputs, F>, {blocks_for(index.count, kBatch<1>), kBlock}, f, sources, index, y.data<T>());
  }
}

// tensors: the inputs, then y, all of one shape and dtype.
template <class F, size_t Tensors>
void map(const F& f, const std::array<const Tensor*, Tensors>& tensors, Tensor& y) {
  y.dtype() == DType::bf16 ? map_as<bf16>(f, tensors, y) : map_as<float>(f, tensors, y);
}

template <size_t Tensors>
bool can_map(const std::array<const Tensor*, Tensors>& tensors) {
  return tensors[0]->dtype() != DType::f64 && FastIndex<static_cast<int>(Tensors)>::fits(tensors);
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
  constexpr Takes kAny{.strided = true, .bf16 = true};
  kernels::unary.add(
      Device::cuda, "vectorized", unary_vectorized,
      [](UnaryOp, const Tensor& x, const UnaryParams&, const Tensor& y) {
        return can_map(std::array{&x, &y});
      },
      kAny);
  kernels::unary_backward.add(
      Device::cuda, "vectorized", unary_backward_vectorized,
      [](UnaryOp, const Tensor& saved, const Tensor& dy, const UnaryParams&, const Tensor& dx) {
        return can_map(std::array{&saved, &dy, &dx});
      },
      kAny);
  kernels::binary.add(
      Device::cuda, "vectorized", binary_vectorized,
      [](BinaryOp, const Tensor& a, const Tensor& b, const Tensor& y) {
        return can_map(std::array{&a, &b, &y});
      },
      kAny);
}

}  // namespace asap::cuda
