// Elementwise kernels: unary, its derivative, binary with broadcasting. `vectorized` compiles one kernel per operation, out of
// the definitions, for f32 and bf16, computed in float, that takes 16 bytes at a time wherever the operands allow it.
// Next: strided.cuh.
#include "cuda/common.cuh"
#include "cuda/register.h"
#include "cuda/strided.cuh"
#include "tensor/definitions/elementwise.h"

namespace asap::cuda {
namespace {

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

// tensors: the inputs, then y, all of one shape and dtype.
template <class F, size_t Tensors>
void map_floating(const F& f, const std::array<const Tensor*, Tensors>& tensors, Tensor& y) {
  y.dtype() == DType::bf16 ? map<bf16, bf16>(f, tensors, y) : map<float, float>(f, tensors, y);
}

template <size_t Tensors>
bool can_map(const std::array<const Tensor*, Tensors>& tensors) {
  return tensors[0]->dtype() != DType::f64 && FastIndex<static_cast<int>(Tensors)>::fits(tensors);
}

void unary_vectorized(UnaryOp op, const Tensor& x, const UnaryParams& params, Tensor& y) {
  with_constant(op, [&](auto constant) {
    const UnaryFunction<decltype(constant)::value> f{static_cast<float>(params.a), static_cast<float>(params.b)};
    map_floating(f, std::array<const Tensor*, 2>{&x, &y}, y);
  });
}

void unary_backward_vectorized(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params,
                               Tensor& dx) {
  with_constant(op, [&](auto constant) {
    const UnaryGradient<decltype(constant)::value> f{static_cast<float>(params.a), static_cast<float>(params.b)};
    map_floating(f, std::array<const Tensor*, 3>{&saved, &dy, &dx}, dx);
  });
}

void binary_vectorized(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  with_constant(op, [&](auto constant) {
    map_floating(BinaryFunction<decltype(constant)::value>{}, std::array<const Tensor*, 3>{&a, &b, &y}, y);
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
