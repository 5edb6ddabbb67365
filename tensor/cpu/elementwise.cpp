// Elementwise kernels: unary, its derivative, binary with broadcasting, and the channel bias.
// `naive` evaluates the definitions (../elementwise_functions.h) element by element; `vectorized` compiles one loop per
// operation out of the same definitions (float exp, tanh, log and their kin from vector_math.h). Next: strided.h.
#include <type_traits>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/elementwise_functions.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

// ---- naive: the definition ----------------------------------------------------------------------------------------

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

// ---- vectorized ---------------------------------------------------------------------------------------------------

// evaluate() and derivative() with the branchless float functions where there is one.
template <UnaryOp op, class T>
[[gnu::always_inline]] inline T evaluate_fast(T x, T a, T b) {
  if constexpr (std::is_same_v<T, float>) {
    if constexpr (op == UnaryOp::tanh) return vector_math::tanh(x);
    if constexpr (op == UnaryOp::sigmoid) return vector_math::sigmoid(x);
    if constexpr (op == UnaryOp::exp) return vector_math::exp(x);
    if constexpr (op == UnaryOp::log) return vector_math::log(x);
    if constexpr (op == UnaryOp::softplus) return vector_math::softplus(x);
  }
  return evaluate(op, x, a, b);
}
template <UnaryOp op, class T>
[[gnu::always_inline]] inline T derivative_fast(T s, T a, T b) {
  if constexpr (op == UnaryOp::softplus && std::is_same_v<T, float>) return vector_math::sigmoid(s);
  return derivative(op, s, a, b);
}

// y[i] = f(x[i]). ivdep: y may be x itself, but is never x shifted.
template <class T, class F>
void map_run(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t n, const F& f) {
  if (x_stride == 1 && y_stride == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = f(x[i * x_stride]);
  }
}

// y[i] = f(a[i], b[i]); a stride of 0 repeats one value along the run.
template <class T, class F>
void map_run(const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* y, int64_t y_stride, int64_t n,
             const F& f) {
  if (y_stride == 1 && a_stride == 1 && b_stride == 1) {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], b[i]);
  } else if (y_stride == 1 && a_stride == 1 && b_stride == 0) {
    const T scalar = *b;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = f(a[i], scalar);
  } else if (y_stride == 1 && a_stride == 0 && b_stride == 1) {
    const T scalar = *a;
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = f(scalar, b[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = f(a[i * a_stride], b[i * b_stride]);
  }
}

void unary_vectorized(UnaryOp op, const Tensor& x, const UnaryParams& params, Tensor& y) {
  const auto loop = merged_loop<2>({&x, &y});
  dispatch_floating(x.dtype(), "unary", [&](auto tag) {
    using T = decltype(tag);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const T a = static_cast<T>(params.a), b = static_cast<T>(params.b);
    with_constant(op, [&](auto constant) {
      parallel_runs(loop, [&](const auto& at, int64_t n) {
        map_run(from + at[0], loop.inner_stride(0), to + at[1], loop.inner_stride(1), n,
                [a, b](T v) { return evaluate_fast<decltype(constant)::value, T>(v, a, b); });
      });
    });
  });
}

void unary_backward_vectorized(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params,
                               Tensor& dx) {
  dispatch_floating(dy.dtype(), "unary_backward", [&](auto tag) {
    using T = decltype(tag);
    const T *s = saved.data<T>(), *g = dy.data<T>();
    T* to = dx.data<T>();
    const T a = static_cast<T>(params.a), b = static_cast<T>(params.b);
    with_constant(op, [&](auto constant) {
      parallel_for(dy.numel(), kGrain, [&](int64_t begin, int64_t end) {
        map_run(s + begin, 1, g + begin, 1, to + begin, 1, end - begin,
                [a, b](T v, T grad) { return derivative_fast<decltype(constant)::value, T>(v, a, b) * grad; });
      });
    });
  });
}

void binary_vectorized(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  const auto loop = merged_loop<3>({&a, &b, &y});
  dispatch_floating(y.dtype(), "binary", [&](auto tag) {
    using T = decltype(tag);
    const T *p = a.data<T>(), *q = b.data<T>();
    T* to = y.data<T>();
    with_constant(op, [&](auto constant) {
      parallel_runs(loop, [&](const auto& at, int64_t n) {
        map_run(p + at[0], loop.inner_stride(0), q + at[1], loop.inner_stride(1), to + at[2], loop.inner_stride(2), n,
                [](T u, T v) { return evaluate(decltype(constant)::value, u, v); });
      });
    });
  });
}

}  // namespace

void register_elementwise() {
  kernels::unary.add(Device::cpu, "vectorized", unary_vectorized, {}, {.strided = true});
  kernels::unary.add(Device::cpu, "naive", unary_naive, {}, {.strided = true});
  kernels::unary_backward.add(Device::cpu, "vectorized", unary_backward_vectorized);
  kernels::unary_backward.add(Device::cpu, "naive", unary_backward_naive);
  kernels::binary.add(Device::cpu, "vectorized", binary_vectorized, {}, {.strided = true});
  kernels::binary.add(Device::cpu, "naive", binary_naive, {}, {.strided = true});
}

}  // namespace asap::cpu
