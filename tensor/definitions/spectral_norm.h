// Spectral norm: a weight divided by an estimate of its largest singular value. Contract: kernels.h. Next: pool.h.
#pragma once

#include <cmath>

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// Line i of a times line i of b. Element j of line i is number i * line + j * step; a vector is one line for all, line = 0.
struct Lines {
  View x;
  int64_t line, step;
};
struct LineProduct {
  Lines a, b;
  int64_t count;

  ASAP_HOST_DEVICE double operator()(int64_t i) const {
    double sum = 0;
    for (int64_t j = 0; j < count; ++j) sum += a.x[i * a.line + j * a.step] * b.x[i * b.line + j * b.step];
    return sum;
  }
};

// x /= max(|x|, eps).
struct Normalize {
  View x;
  double eps;

  ASAP_HOST_DEVICE void operator()(int64_t) const {
    double squares = 0;
    for (int64_t i = 0; i < x.numel(); ++i) squares += x[i] * x[i];
    const double norm = std::sqrt(squares), divisor = norm < eps ? eps : norm;
    for (int64_t i = 0; i < x.numel(); ++i) x.set(i, x[i] / divisor);
  }
};

struct DividedBySigma {
  View w, sigma;
  ASAP_HOST_DEVICE double operator()(int64_t i) const { return w[i] / sigma[0]; }
};

// dw = dy / sigma - sum(dy * w) / sigma^2 u v^T.
struct SpectralNormGrad {
  View dy, u, v, sigma, sum;

  ASAP_HOST_DEVICE double operator()(int64_t i) const {
    const double s = sigma[0];
    return dy[i] / s - sum[0] / (s * s) * u[i / v.size(0)] * v[i % v.size(0)];
  }
};

template <class Run>
void add_spectral_norm(Device device) {
  kernels::spectral_norm_forward.add_definition(
      device, [device](const Tensor& w, const SpectralNormParams& p, Tensor& u, Tensor& v, Tensor& y, Tensor& sigma,
                       Tensor& kept_u, Tensor& kept_v) {
        const int64_t rows = u.numel(), columns = v.numel();
        const LineProduct w_v{{w, columns, 1}, {v, 0, 1}, columns};
        if (p.power_iteration) {
          Run::each(v, LineProduct{{w, 1, columns}, {u, 0, 1}, rows});
          Run::lines(1, Normalize{v, p.eps});
          Run::each(u, w_v);
          Run::lines(1, Normalize{u, p.eps});
        }
        const Tensor product = Tensor::empty({rows}, DType::f64, device);
        Run::each(product, w_v);
        Run::each(sigma, LineProduct{{u, 0, 1}, {product, 0, 1}, rows});
        Run::each(y, DividedBySigma{w, sigma});
        kernels::copy.run(device, u, kept_u);
        kernels::copy.run(device, v, kept_v);
      });
  kernels::spectral_norm_backward.add_definition(device, [device](const Tensor& w, const Tensor& u, const Tensor& v,
                                                                  const Tensor& sigma, const Tensor& dy, Tensor& dw) {
    const int64_t rows = u.numel(), columns = v.numel();
    const Tensor products = Tensor::empty({rows}, DType::f64, device);
    Tensor sum = Tensor::empty({1}, DType::f64, device);
    Run::each(products, LineProduct{{dy, columns, 1}, {w, columns, 1}, columns});
    kernels::reduce.run(device, ReduceOp::sum, products, {.n = rows}, sum);
    Run::each(dw, SpectralNormGrad{dy, u, v, sigma, sum});
  });
}

}  // namespace asap::definitions
