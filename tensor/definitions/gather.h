// gather along the middle of [outer, n, inner], and its gradient. Contract: kernels.h. Next: conv2d.h.
#pragma once

#include "tensor/definitions/reduce.h"

namespace asap::definitions {

// y [outer, m, inner]: its element on line (o, i) is the one of x's line that the index says.
struct Gather {
  View x, index;
  AxisParams p;
  int64_t m;

  ASAP_HOST_DEVICE double operator()(int64_t k) const {
    const Line on(k / p.inner / m * p.inner + k % p.inner, p);
    return x[on.at(static_cast<int64_t>(index[k]))];
  }
};

// One line of sums, zeros at first: dy's line is added in its order, so that equal indices give the same sum on every run. An index
// outside, which the op does not look for on a card, is left out.
struct GatherBackward {
  View dy, index, sums;
  AxisParams p;
  int64_t m;

  ASAP_HOST_DEVICE void operator()(int64_t line) const {
    const Line to(line, p), from(line, {p.outer, m, p.inner});
    for (int64_t q = 0; q < m; ++q) {
      const auto j = static_cast<int64_t>(index[from.at(q)]);
      if (j >= 0 && j < p.n) sums.set(to.at(j), sums[to.at(j)] + dy[from.at(q)]);
    }
  }
};

template <class Run>
void add_gather(Device device) {
  kernels::gather_forward.add_definition(device,
                                         [](const Tensor& x, const Tensor& index, const AxisParams& p, Tensor& y) {
                                           Run::each(y, Gather{x, index, p, index.numel() / (p.outer * p.inner)});
                                         });
  kernels::gather_backward.add_definition(
      device, [device](const Tensor& dy, const Tensor& index, const AxisParams& p, Tensor& dx) {
        const DType dtype = sum_dtype(dx.dtype());
        Tensor sums = dx.dtype() == dtype ? dx : Tensor::empty(dx.shape(), dtype, device);
        kernels::fill.run(device, 0, sums);
        Run::lines(p.outer * p.inner, GatherBackward{dy, index, sums, p, index.numel() / (p.outer * p.inner)});
        if (!sums.shares_storage(dx)) kernels::copy.run(device, sums, dx);
      });
}

}  // namespace asap::definitions
