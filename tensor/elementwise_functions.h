// The functions behind UnaryOp and BinaryOp and the derivatives of the former, for one element: the definition of the
// elementwise kernels of both backends. constexpr, so that nvcc takes them into kernels too; an operation outside of the
// enumeration gives NaN. Used by cpu/elementwise.cpp and the CUDA backend's elementwise.cu.
#pragma once

#include <cmath>
#include <limits>
#include <utility>

#include "tensor/kernels.h"

namespace asap {

// f(x). NaN stays NaN.
template <class T>
[[gnu::always_inline]] constexpr T evaluate(UnaryOp op, T x, T a, T b) {
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
  return std::numeric_limits<T>::quiet_NaN();
}

// f'(.) from `s`, which is f(x) where saves_output(op), else x. Where f has a corner: relu'(0) = abs'(0) = 0,
// leaky_relu'(0) = a, clamp' = 1 on both bounds, sign' = 0.
template <class T>
[[gnu::always_inline]] constexpr T derivative(UnaryOp op, T s, T a, T b) {
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
  return std::numeric_limits<T>::quiet_NaN();
}

// maximum and minimum are NaN if either argument is.
template <class T>
[[gnu::always_inline]] constexpr T evaluate(BinaryOp op, T a, T b) {
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
  return std::numeric_limits<T>::quiet_NaN();
}

// Calls f with the operation as a compile-time constant: one of the enumerators 0, 1, ..
template <class Op, class F, int... i>
void with_constant(Op op, const F& f, std::integer_sequence<int, i...>) {
  const bool found = ((op == Op{i} && (f(std::integral_constant<Op, Op{i}>{}), true)) || ...);
  ASAP_CHECK(found, "elementwise: unknown operation ", static_cast<int>(op));
}
template <class F>
void with_constant(UnaryOp op, const F& f) {
  with_constant(op, f, std::make_integer_sequence<int, static_cast<int>(UnaryOp::sign) + 1>{});
}
template <class F>
void with_constant(BinaryOp op, const F& f) {
  with_constant(op, f, std::make_integer_sequence<int, static_cast<int>(BinaryOp::greater) + 1>{});
}

}  // namespace asap
