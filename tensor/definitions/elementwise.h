// The functions of elementwise_table.h for one element, and the ops on them: unary, its derivative, binary, where.
// constexpr, so that a card's compiler takes them into kernels too. Fast variants of both backends are made of them as well.
// Contract: kernels.h. Next: reduce.h.
#pragma once

#include <cmath>
#include <limits>

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap {

// f(x); NaN outside of the enumeration.
template <class T>
[[gnu::always_inline]] constexpr T evaluate(UnaryOp op, T x, T a, T b) {
#define ASAP_EVALUATE(name, f, ...) \
  case UnaryOp::name: return f;
  switch (op) { ASAP_UNARY_OPS(ASAP_EVALUATE) }
#undef ASAP_EVALUATE
  return std::numeric_limits<T>::quiet_NaN();
}

// f'(.) from f(x) where saves_output(op), else from x.
template <class T>
[[gnu::always_inline]] constexpr T derivative(UnaryOp op, T saved, T a, T b) {
#define ASAP_DERIVATIVE(name, f, known, f_prime) \
  case UnaryOp::name: {                          \
    [[maybe_unused]] const T known = saved;      \
    return f_prime;                              \
  }
  switch (op) { ASAP_UNARY_OPS(ASAP_DERIVATIVE) }
#undef ASAP_DERIVATIVE
  return std::numeric_limits<T>::quiet_NaN();
}

template <class T>
[[gnu::always_inline]] constexpr T evaluate(BinaryOp op, T a, T b) {
#define ASAP_EVALUATE(name, f) \
  case BinaryOp::name: return f;
  switch (op) { ASAP_BINARY_OPS(ASAP_EVALUATE) }
#undef ASAP_EVALUATE
  return std::numeric_limits<T>::quiet_NaN();
}

// Calls f with the operation as a compile-time constant.
#define ASAP_CONSTANT(name, ...) \
  case Op::name: return f(std::integral_constant<Op, Op::name>{});
template <class F>
void with_constant(UnaryOp op, const F& f) {
  using Op = UnaryOp;
  switch (op) { ASAP_UNARY_OPS(ASAP_CONSTANT) }
  fail("unary: unknown operation ", static_cast<int>(op));
}
template <class F>
void with_constant(BinaryOp op, const F& f) {
  using Op = BinaryOp;
  switch (op) { ASAP_BINARY_OPS(ASAP_CONSTANT) }
  fail("binary: unknown operation ", static_cast<int>(op));
}
#undef ASAP_CONSTANT

namespace definitions {

struct Unary {
  UnaryOp op;
  View x;
  UnaryParams p;
  ASAP_HOST_DEVICE double operator()(const Position& y) const { return evaluate(op, x(y), p.a, p.b); }
};

struct UnaryBackward {
  UnaryOp op;
  View saved, dy;
  UnaryParams p;
  ASAP_HOST_DEVICE double operator()(const Position& dx) const { return derivative(op, saved(dx), p.a, p.b) * dy(dx); }
};

struct Binary {
  BinaryOp op;
  View a, b;
  ASAP_HOST_DEVICE double operator()(const Position& y) const { return evaluate(op, a(y), b(y)); }
};

struct Where {
  View condition, a, b;
  ASAP_HOST_DEVICE double operator()(const Position& y) const { return condition(y) != 0 ? a(y) : b(y); }
};

template <class Run>
void add_elementwise(Device device) {
  kernels::unary.add_definition(device, [](UnaryOp op, const Tensor& x, const UnaryParams& p, Tensor& y) {
    Run::each(y, Unary{op, x, p});
  });
  kernels::unary_backward.add_definition(
      device, [](UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& p, Tensor& dx) {
        Run::each(dx, UnaryBackward{op, saved, dy, p});
      });
  kernels::binary.add_definition(device, [](BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
    Run::each(y, Binary{op, a, b});
  });
  kernels::where.add_definition(device, [](const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
    Run::each(y, Where{condition, a, b});
  });
}

}  // namespace definitions
}  // namespace asap
