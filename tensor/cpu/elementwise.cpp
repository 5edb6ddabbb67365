// Elementwise kernels: unary, its derivative, binary with broadcasting, and the channel bias. Next: strided.h.
#include <cmath>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

// f(x). NaN stays NaN.
template <class T>
T evaluate(UnaryOp op, T x, T a, T b) {
  switch (op) {
    case UnaryOp::relu: return x <= 0 ? T(0) : x;
    case UnaryOp::leaky_relu: return x > 0 ? x : a * x;
    case UnaryOp::tanh: return std::tanh(x);
    case UnaryOp::sigmoid: return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x));
    case UnaryOp::exp: return std::exp(x);
    case UnaryOp::log: return std::log(x);
    case UnaryOp::sqrt: return std::sqrt(x);
    case UnaryOp::abs: return std::abs(x);
    case UnaryOp::softplus: return (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::abs(x)));
    case UnaryOp::square: return x * x;
    case UnaryOp::sin: return std::sin(x);
    case UnaryOp::cos: return std::cos(x);
    case UnaryOp::affine: return a * x + b;
    case UnaryOp::clamp: return x < a ? a : x > b ? b : x;
    case UnaryOp::pow: return std::pow(x, a);
    case UnaryOp::sign: return x > 0 ? T(1) : x < 0 ? T(-1) : x;
  }
  fail("unary: unknown operation ", static_cast<int>(op));
}

// f'(.) from `s`, which is f(x) where saves_output(op), else x. Where f has a corner: relu'(0) = abs'(0) = 0,
// leaky_relu'(0) = a, clamp' = 1 on both bounds, sign' = 0.
template <class T>
T derivative(UnaryOp op, T s, T a, T b) {
  switch (op) {
    case UnaryOp::relu: return s > 0 ? T(1) : T(0);
    case UnaryOp::leaky_relu: return s > 0 ? T(1) : a;
    case UnaryOp::tanh: return 1 - s * s;
    case UnaryOp::sigmoid: return s * (1 - s);
    case UnaryOp::exp: return s;
    case UnaryOp::log: return 1 / s;
    case UnaryOp::sqrt: return T(0.5) / s;
    case UnaryOp::abs: return s > 0 ? T(1) : s < 0 ? T(-1) : T(0);
    case UnaryOp::softplus: return evaluate(UnaryOp::sigmoid, s, a, b);
    case UnaryOp::square: return 2 * s;
    case UnaryOp::sin: return std::cos(s);
    case UnaryOp::cos: return -std::sin(s);
    case UnaryOp::affine: return a;
    case UnaryOp::clamp: return s >= a && s <= b ? T(1) : T(0);
    case UnaryOp::pow: return a == 0 ? T(0) : a * std::pow(s, a - 1);
    case UnaryOp::sign: return T(0);
  }
  fail("unary_backward: unknown operation ", static_cast<int>(op));
}

// maximum and minimum are NaN if either argument is.
template <class T>
T evaluate(BinaryOp op, T a, T b) {
  switch (op) {
    case BinaryOp::add: return a + b;
    case BinaryOp::sub: return a - b;
    case BinaryOp::mul: return a * b;
    case BinaryOp::div: return a / b;
    case BinaryOp::maximum: return a > b || a != a ? a : b;
    case BinaryOp::minimum: return a < b || a != a ? a : b;
    case BinaryOp::equal: return a == b ? T(1) : T(0);
    case BinaryOp::less: return a < b ? T(1) : T(0);
    case BinaryOp::greater: return a > b ? T(1) : T(0);
  }
  fail("binary: unknown operation ", static_cast<int>(op));
}

void unary_naive(UnaryOp op, const Tensor& x, const UnaryParams& params, Tensor& y) {
  dispatch_floating(x.dtype(), "unary", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    for (int64_t i = 0; i < x.numel(); ++i) {
      to[offset_of(i, y.shape(), y.strides())] =
          evaluate(op, from[offset_of(i, x.shape(), x.strides())], T(params.a), T(params.b));
    }
  });
}

void unary_backward_naive(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params, Tensor& dx) {
  dispatch_floating(dy.dtype(), "unary_backward", [&](auto tag) {
    using T = decltype(tag);
    const T *s = saved.data<T>(), *g = dy.data<T>();
    T* to = dx.data<T>();
    for (int64_t i = 0; i < dy.numel(); ++i) to[i] = derivative(op, s[i], T(params.a), T(params.b)) * g[i];
  });
}

void binary_naive(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_floating(y.dtype(), "binary", [&](auto tag) {
    using T = decltype(tag);
    const T *p = a.data<T>(), *q = b.data<T>();
    T* to = y.data<T>();
    for (int64_t i = 0; i < y.numel(); ++i) {
      to[offset_of(i, y.shape(), y.strides())] =
          evaluate(op, p[offset_of(i, a.shape(), a.strides())], q[offset_of(i, b.shape(), b.strides())]);
    }
  });
}

void add_bias_naive(const Tensor& bias, Tensor& y) {
  dispatch_floating(y.dtype(), "add_bias", [&](auto tag) {
    using T = decltype(tag);
    const T* b = bias.data<T>();
    T* to = y.data<T>();
    const int64_t C = bias.numel(), plane = y.numel() / std::max<int64_t>(y.size(0) * C, 1);
    for (int64_t i = 0; i < y.numel(); ++i) to[i] += b[i / plane % C];
  });
}

}  // namespace

void register_elementwise() {
  kernels::unary.add(Device::cpu, "naive", unary_naive);
  kernels::unary_backward.add(Device::cpu, "naive", unary_backward_naive);
  kernels::binary.add(Device::cpu, "naive", binary_naive);
  kernels::add_bias.add(Device::cpu, "naive", add_bias_naive);
}

}  // namespace asap::cpu
