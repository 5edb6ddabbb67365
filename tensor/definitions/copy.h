// fill and copy, which converts as C++ does. Contract: kernels.h. Next: random.h.
#pragma once

#include "tensor/definitions/view.h"
#include "tensor/kernels.h"

namespace asap::definitions {

struct Fill {
  double value;
  ASAP_HOST_DEVICE double operator()(const Position&) const { return value; }
};

// f64 holds every value of every dtype.
struct Copy {
  View x;
  ASAP_HOST_DEVICE double operator()(const Position& y) const { return x(y); }
};

template <class Run>
void add_copy(Device device) {
  kernels::fill.add_definition(device, [](double value, Tensor& y) { Run::each(y, Fill{value}); });
  kernels::copy.add_definition(device, [](const Tensor& x, Tensor& y) { Run::each(y, Copy{x}); });
}

}  // namespace asap::definitions
