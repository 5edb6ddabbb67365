// Sum, mean and maximum, and where the maximum is, over the middle of [outer, n, inner]. Contract: kernels.h. Next: gather.h.
#pragma once

#include <limits>

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

// Where an axis lies in x, whose elements are counted in row-major order: line (o, i) has the elements at(0), at(1), ...
struct Line {
  int64_t first, step;
  ASAP_HOST_DEVICE Line(int64_t line, const AxisParams& p)
      : first(line / p.inner * p.n * p.inner + line % p.inner), step(p.inner) {}
  ASAP_HOST_DEVICE int64_t at(int64_t j) const { return first + j * step; }
};

// One element of y [outer, inner]. The maximum is NaN if one of the values is.
struct Reduce {
  ReduceOp op;
  View x;
  AxisParams p;

  ASAP_HOST_DEVICE double operator()(int64_t line) const {
    const Line on(line, p);
    double sum = 0, largest = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < p.n; ++j) {
      const double value = x[on.at(j)];
      sum += value;
      if (value > largest || value != value) largest = value;
    }
    return op == ReduceOp::max ? largest : op == ReduceOp::mean ? sum / static_cast<double>(p.n) : sum;
  }
};

struct Argmax {
  View x;
  AxisParams p;

  ASAP_HOST_DEVICE double operator()(int64_t line) const {
    const Line on(line, p);
    int64_t best = 0;
    for (int64_t j = 1; j < p.n; ++j) {
      if (is_better(x[on.at(j)], x[on.at(best)])) best = j;
    }
    return static_cast<double>(best);
  }
};

template <class Run>
void add_reduce(Device device) {
  kernels::reduce.add_definition(device, [](ReduceOp op, const Tensor& x, const AxisParams& p, Tensor& y) {
    Run::each(y, Reduce{op, x, p});
  });
  kernels::argmax.add_definition(device, [](const Tensor& x, const AxisParams& p, Tensor& y) {
    Run::each(y, Argmax{x, p});
  });
}

}  // namespace asap::definitions
