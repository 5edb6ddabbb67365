// The batched matrix product. Contract: kernels.h. Next: conv2d.h.
#pragma once

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// y[i,m,n] = sum over k of a[i,m,k] * b[i,k,n]: transposed and shared matrices are views.
struct MatrixProduct {
  View a, b;

  ASAP_HOST_DEVICE double operator()(const Position& y) const {
    double sum = 0;
    for (int64_t k = 0; k < a.size(2); ++k) sum += a(y[0], y[1], k) * b(y[0], k, y[2]);
    return sum;
  }
};

template <class Run>
void add_matmul(Device device) {
  kernels::matmul.add_definition(device, [](const Tensor& a, const Tensor& b, const MatmulParams& p, Tensor& y) {
    const auto matrices = [&](const Tensor& x, bool transposed) {
      const Tensor m = transposed ? x.transpose(1, 2) : x;
      return View(m.expand({y.size(0), m.size(1), m.size(2)}));
    };
    Run::each(y, MatrixProduct{matrices(a, p.transpose_a), matrices(b, p.transpose_b)});
  });
}

}  // namespace asap::definitions
