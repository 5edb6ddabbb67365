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

// Each element of dx looks through its line's m indices, in order: equal ones add up, the same on every run.
struct GatherBackward {
  View dy, index;
  AxisParams p;
  int64_t m;

  ASAP_HOST_DEVICE double operator()(int64_t k) const {
    const Line picks(k / p.inner / p.n * p.inner + k % p.inner, {p.outer, m, p.inner});
    const int64_t own = k / p.inner % p.n;
    double sum = 0;
    for (int64_t q = 0; q < m; ++q) {
      if (static_cast<int64_t>(index[picks.at(q)]) == own) sum += dy[picks.at(q)];
    }
    return sum;
  }
};

template <class Run>
void add_gather(Device device) {
  kernels::gather_forward.add_definition(device,
                                         [](const Tensor& x, const Tensor& index, const AxisParams& p, Tensor& y) {
                                           Run::each(y, Gather{x, index, p, index.numel() / (p.outer * p.inner)});
                                         });
  kernels::gather_backward.add_definition(
      device, [](const Tensor& dy, const Tensor& index, const AxisParams& p, Tensor& dx) {
        Run::each(dx, GatherBackward{dy, index, p, index.numel() / (p.outer * p.inner)});
      });
}

}  // namespace asap::definitions
