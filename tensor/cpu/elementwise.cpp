// Elementwise kernels: unary, its derivative, binary with broadcasting, where. `vectorized` compiles one loop per operation out of
// the definitions (float exp, tanh, sigmoid and erf from vector_math.h); bf16 is computed in float. Next: strided.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/cpu/elementwise.cpp"
#include "tensor/cpu/targets.h"

#include <type_traits>

#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/cpu/vector_math.h"
#include "tensor/definitions/elementwise.h"

HWY_BEFORE_NAMESPACE();
namespace asap::cpu {
namespace HWY_NAMESPACE {
namespace {

// evaluate() with the branchless float function where there is one.
template <UnaryOp op, class T>
[[gnu::always_inline]] inline T evaluate_fast(T x, T a, T b) {
  if constexpr (std::is_same_v<T, float>) {
    if constexpr (op == UnaryOp::tanh) return vector_math::tanh(x);
    if constexpr (op == UnaryOp::sigmoid) return vector_math::sigmoid(x);
    if constexpr (op == UnaryOp::exp) return vector_math::exp(x);
    if constexpr (op == UnaryOp::erf) return vector_math::erf(x);
  }
  return evaluate(op, x, a, b);
}

// The same of derivative().
template <UnaryOp op, class T>
[[gnu::always_inline]] inline T derivative_fast(T saved, T a, T b) {
  if constexpr (std::is_same_v<T, float> && op == UnaryOp::erf) return 1.12837917f * vector_math::exp(-saved * saved);
  return derivative(op, saved, a, b);
}

// y[i] = f(x[i]). ASAP_INDEPENDENT: y may be x itself, but is never x shifted.
template <class T, class F>
void map_run(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t n, const F& f) {
  if (x_stride == 1 && y_stride == 1) {
    ASAP_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(x[i]));
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = static_cast<T>(f(x[i * x_stride]));
  }
}

// y[i] = f(a[i], b[i]); a stride of 0 repeats one value along the run.
template <class T, class F>
void map_run(const T* a, int64_t a_stride, const T* b, int64_t b_stride, T* y, int64_t y_stride, int64_t n,
             const F& f) {
  if (y_stride == 1 && a_stride == 1 && b_stride == 1) {
    ASAP_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(a[i], b[i]));
  } else if (y_stride == 1 && a_stride == 1 && b_stride == 0) {
    const T scalar = *b;
    ASAP_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(a[i], scalar));
  } else if (y_stride == 1 && a_stride == 0 && b_stride == 1) {
    const T scalar = *a;
    ASAP_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(f(scalar, b[i]));
  } else {
    for (int64_t i = 0; i < n; ++i) y[i * y_stride] = static_cast<T>(f(a[i * a_stride], b[i * b_stride]));
  }
}

void unary_vectorized(UnaryOp op, const Tensor& x, const UnaryParams& params, Tensor& y) {
  const auto loop = merged_loop<2>({&x, &y});
  dispatch_stored(x.dtype(), "unary", [&](auto stored, auto computed) {
    using T = decltype(stored);
    using C = decltype(computed);
    const T* from = x.data<T>();
    T* to = y.data<T>();
    const C a = static_cast<C>(params.a), b = static_cast<C>(params.b);
    with_constant(op, [&](auto constant) {
      parallel_runs(loop, [&](const auto& at, int64_t n) {
        map_run(from + at[0], loop.inner_stride(0), to + at[1], loop.inner_stride(1), n,
                [a, b](C v) { return evaluate_fast<decltype(constant)::value, C>(v, a, b); });
      });
    });
  });
}

// y = f(a, b)
template <class T, class F>
void map(const Tensor& a, const Tensor& b, Tensor& y, const F& f) {
  const auto loop = merged_loop<3>({&a, &b, &y});
  const T *p = a.data<T>(), *q = b.data<T>();
  T* to = y.data<T>();
  parallel_runs(loop, [&](const auto& at, int64_t n) {
    map_run(p + at[0], loop.inner_stride(0), q + at[1], loop.inner_stride(1), to + at[2], loop.inner_stride(2), n, f);
  });
}

void unary_backward_vectorized(UnaryOp op, const Tensor& saved, const Tensor& dy, const UnaryParams& params,
                               Tensor& dx) {
  dispatch_stored(dy.dtype(), "unary_backward", [&](auto stored, auto computed) {
    using C = decltype(computed);
    const C a = static_cast<C>(params.a), b = static_cast<C>(params.b);
    with_constant(op, [&](auto constant) {
      map<decltype(stored)>(
          saved, dy, dx, [a, b](C s, C grad) { return derivative_fast<decltype(constant)::value, C>(s, a, b) * grad; });
    });
  });
}

void binary_vectorized(BinaryOp op, const Tensor& a, const Tensor& b, Tensor& y) {
  dispatch_stored(y.dtype(), "binary", [&](auto stored, auto computed) {
    using C = decltype(computed);
    with_constant(op, [&](auto constant) {
      map<decltype(stored)>(a, b, y, [](C u, C v) { return evaluate(decltype(constant)::value, u, v); });
    });
  });
}

// Both sides are loaded, so that the choice is one of vectors. A step of 0 repeats one value along the run.
void where_vectorized(const Tensor& condition, const Tensor& a, const Tensor& b, Tensor& y) {
  const auto loop = merged_loop<4>({&condition, &a, &b, &y});
  dispatch_all(condition.dtype(), [&]<class Condition>(Condition) {
    dispatch_all(y.dtype(), [&]<class T>(T) {
      parallel_runs(loop, [&](const auto& at, int64_t n) {
        const Condition* c = condition.data<Condition>() + at[0];
        const T *p = a.data<T>() + at[1], *q = b.data<T>() + at[2];
        T* to = y.data<T>() + at[3];
        const int64_t c_step = loop.inner_stride(0), p_step = loop.inner_stride(1), q_step = loop.inner_stride(2),
                      y_step = loop.inner_stride(3);
        const auto packed = [=](const auto& of_p, const auto& of_q) {
          ASAP_INDEPENDENT
          for (int64_t i = 0; i < n; ++i) {
            const T taken = of_p(i), other = of_q(i);
            to[i] = c[i] != Condition(0) ? taken : other;
          }
        };
        const auto each = [](const T* x) { return [x](int64_t i) { return x[i]; }; };
        const auto one = [](const T* x) { return [value = *x](int64_t) { return value; }; };
        if (c_step == 1 && y_step == 1) {
          if (p_step == 1 && q_step == 1) return packed(each(p), each(q));
          if (p_step == 0 && q_step == 1) return packed(one(p), each(q));
          if (p_step == 1 && q_step == 0) return packed(each(p), one(q));
        }
        for (int64_t i = 0; i < n; ++i) to[i * y_step] = c[i * c_step] != Condition(0) ? p[i * p_step] : q[i * q_step];
      });
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE

#if HWY_ONCE
HWY_EXPORT(unary_vectorized);
HWY_EXPORT(unary_backward_vectorized);
HWY_EXPORT(binary_vectorized);
HWY_EXPORT(where_vectorized);

void register_elementwise() {
  constexpr Takes kAny{.strided = true, .bf16 = true};
  kernels::unary.add(Device::cpu, "vectorized", HWY_DYNAMIC_DISPATCH(unary_vectorized), {}, kAny);
  kernels::unary_backward.add(Device::cpu, "vectorized", HWY_DYNAMIC_DISPATCH(unary_backward_vectorized), {}, kAny);
  kernels::binary.add(Device::cpu, "vectorized", HWY_DYNAMIC_DISPATCH(binary_vectorized), {}, kAny);
  kernels::where.add(Device::cpu, "vectorized", HWY_DYNAMIC_DISPATCH(where_vectorized), {}, kAny);
}
#endif
}  // namespace asap::cpu
HWY_AFTER_NAMESPACE();
