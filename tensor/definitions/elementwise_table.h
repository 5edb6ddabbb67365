// The elementwise ops, one row each: the enumerators of kernels.h, their names, what autograd saves, and the functions of every
// backend (elementwise.h) are all made from these two lists. Next: elementwise.h.
#pragma once

// ROW(name, f(x), what f' is told: x, or y = f(x), so that x can be freed; f'). a and b are UnaryParams. NaN stays NaN. Where f
// has a corner: relu'(0) = abs'(0) = 0, leaky_relu'(0) = a (>= 0, or y does not tell), clamp' = 1 on both bounds, sign' = 0.
// clang-format off
#define ASAP_UNARY_OPS(ROW)                                                                                      \
  ROW(relu, x <= 0 ? T(0) : x, y, y > 0 ? T(1) : T(0))                                                           \
  ROW(leaky_relu, x > 0 ? x : a * x, y, y > 0 ? T(1) : a)                                                        \
  ROW(tanh, std::tanh(x), y, 1 - y * y)                                                                          \
  ROW(sigmoid, x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)), y, y * (1 - y))                \
  ROW(exp, std::exp(x), y, y)                                                                                    \
  ROW(log, std::log(x), x, 1 / x)                                                                                \
  ROW(sqrt, std::sqrt(x), y, T(0.5) / y)                                                                         \
  ROW(abs, std::abs(x), x, x > 0 ? T(1) : x < 0 ? T(-1) : T(0))                                                  \
  ROW(softplus, (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::abs(x))), x, evaluate(UnaryOp::sigmoid, x, a, b)) \
  ROW(square, x * x, x, 2 * x)                                                                                   \
  ROW(sin, std::sin(x), x, std::cos(x))                                                                          \
  ROW(cos, std::cos(x), x, -std::sin(x))                                                                         \
  ROW(erf, std::erf(x), x, T(1.1283791670955126) * std::exp(-x * x)) /* 2 / sqrt(pi) */                          \
  ROW(affine, a * x + b, x, a)                                                                                   \
  ROW(clamp, x < a ? a : x > b ? b : x, x, x >= a && x <= b ? T(1) : T(0))                                       \
  ROW(pow, std::pow(x, a), x, a == 0 ? T(0) : a * std::pow(x, a - 1))                                            \
  ROW(sign, x > 0 ? T(1) : x < 0 ? T(-1) : x, x, T(0))

// ROW(name, f(a, b)). maximum and minimum are NaN if either argument is.
#define ASAP_BINARY_OPS(ROW)            \
  ROW(add, a + b)                       \
  ROW(sub, a - b)                       \
  ROW(mul, a * b)                       \
  ROW(div, a / b)                       \
  ROW(maximum, a > b || a != a ? a : b) \
  ROW(minimum, a < b || a != a ? a : b) \
  ROW(equal, a == b ? T(1) : T(0))      \
  ROW(less, a < b ? T(1) : T(0))        \
  ROW(greater, a > b ? T(1) : T(0))
// clang-format on
