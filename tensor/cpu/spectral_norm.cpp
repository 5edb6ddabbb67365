// Spectral norm: a weight divided by an estimate of its largest singular value (contract: ../kernels.h). `vectorized` reads
// the matrix once for each product with it, row after row. Sums are carried in double. Next: nn/spectral_norm.h, the layer.
#include <cmath>

#include "tensor/cpu/reduce_run.h"
#include "tensor/cpu/register.h"
#include "tensor/cpu/strided.h"
#include "tensor/kernels.h"

namespace asap::cpu {
namespace {

int64_t rows_of(const Tensor& w) { return w.size(0); }
int64_t columns_of(const Tensor& w) { return w.numel() / w.size(0); }

template <class T>
void normalize(T* x, int64_t n, double eps) {
  double squares = 0;
  for (int64_t i = 0; i < n; ++i) squares += static_cast<double>(x[i]) * x[i];
  const double divisor = std::max(std::sqrt(squares), eps);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(x[i] / divisor);
}

// f(begin, end) for the threads' shares of `n` rows or columns of `length` elements.
template <class F>
void parallel_lines(int64_t n, int64_t length, const F& f) {
  parallel_for(n, std::max<int64_t>(kGrain / length, 1), f);
}

template <class T>
double dot_run(const T* a, const T* b, int64_t n) {
  return reduce_run<Sum<T>>(n, [=](int64_t i) { return static_cast<double>(a[i]) * b[i]; });
}

// y = W^T u. A strip of sums stays in the first-level cache; four rows for each pass over it.
template <class T>
void transposed_product(const T* w, const T* u, int64_t rows, int64_t columns, T* y) {
  constexpr int64_t kStrip = 512;
  parallel_lines(columns, rows, [=](int64_t begin, int64_t end) {
    double sums[kStrip];
    for (int64_t first = begin; first < end; first += kStrip) {
      const int64_t width = std::min(kStrip, end - first);
      std::fill_n(sums, width, 0.0);
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) {
        const T *a = w + r * columns + first, *b = a + columns, *c = b + columns, *d = c + columns;
        const double ua = u[r], ub = u[r + 1], uc = u[r + 2], ud = u[r + 3];
        for (int64_t i = 0; i < width; ++i) sums[i] += (ua * a[i] + ub * b[i]) + (uc * c[i] + ud * d[i]);
      }
      for (; r < rows; ++r) {
        for (int64_t i = 0; i < width; ++i) sums[i] += static_cast<double>(u[r]) * w[r * columns + first + i];
      }
      for (int64_t i = 0; i < width; ++i) y[first + i] = static_cast<T>(sums[i]);
    }
  });
}

// y[r] = sum over row r of a * b, where b is a vector or, with b_step = columns, another matrix.
template <class T, class Out>
void row_products(const T* a, const T* b, int64_t b_step, int64_t rows, int64_t columns, Out* y) {
  parallel_lines(rows, columns, [=](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) y[r] = static_cast<Out>(dot_run(a + r * columns, b + r * b_step, columns));
  });
}

void spectral_norm_forward_vectorized(const Tensor& weight, const SpectralNormParams& params, Tensor& left,
                                      Tensor& right, Tensor& y, Tensor& sigma, Tensor& kept_u, Tensor& kept_v) {
  dispatch_floating(weight.dtype(), "spectral_norm_forward", [&](auto tag) {
    using T = decltype(tag);
    const int64_t rows = rows_of(weight), columns = columns_of(weight);
    const T* w = weight.data<T>();
    T *u = left.data<T>(), *v = right.data<T>(), *to = y.data<T>();
    if (params.power_iteration) {
      transposed_product(w, u, rows, columns, v);
      normalize(v, columns, params.eps);
    }
    Tensor workspace = Tensor::empty({rows}, weight.dtype());
    T* product = workspace.data<T>();  // W v
    row_products(w, v, 0, rows, columns, product);
    if (params.power_iteration) {
      std::copy_n(product, rows, u);
      normalize(u, rows, params.eps);
    }
    const T s = sigma.data<T>()[0] = static_cast<T>(dot_run(u, product, rows));
    parallel_for(rows * columns, kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = w[i] / s;
    });
    std::copy_n(u, rows, kept_u.data<T>());
    std::copy_n(v, columns, kept_v.data<T>());
  });
}

void spectral_norm_backward_vectorized(const Tensor& weight, const Tensor& left, const Tensor& right,
                                       const Tensor& sigma, const Tensor& grad, Tensor& dw) {
  dispatch_floating(weight.dtype(), "spectral_norm_backward", [&](auto tag) {
    using T = decltype(tag);
    const int64_t rows = rows_of(weight), columns = columns_of(weight);
    const T *u = left.data<T>(), *v = right.data<T>(), *dy = grad.data<T>();
    T* to = dw.data<T>();
    Tensor workspace = Tensor::empty({rows}, DType::f64);
    double* products = workspace.data<double>();
    row_products(dy, weight.data<T>(), columns, rows, columns, products);
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += products[r];
    const double s = sigma.data<T>()[0], factor = sum / (s * s);
    parallel_lines(rows, columns, [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T scale = static_cast<T>(1 / s), share = static_cast<T>(factor * u[r]);
        for (int64_t i = r * columns, c = 0; c < columns; ++i, ++c) to[i] = dy[i] * scale - share * v[c];
      }
    });
  });
}

}  // namespace

void register_spectral_norm() {
  kernels::spectral_norm_forward.add(Device::cpu, "vectorized", spectral_norm_forward_vectorized);
  kernels::spectral_norm_backward.add(Device::cpu, "vectorized", spectral_norm_backward_vectorized);
}

}  // namespace asap::cpu
