// All definitions, in the order of kernels.h, and how they become the variant `naive` of their slots on a device. Run says how
// the device walks over independent work:
//   Run::each(y, f)       y's element = f(its position), or f(its number in row-major order)
//   Run::lines(count, f)  f(0), f(1), ... f(count - 1), each of which writes what is its own
// Next: cpu/naive.cpp and the CUDA backend's naive.cu for the two.
#pragma once

#include "tensor/definitions/conv2d.h"
#include "tensor/definitions/label_planes.h"
#include "tensor/definitions/reduce.h"
#include "tensor/definitions/tile_mlp.h"

namespace asap::definitions {

template <class Run>
void add_all(Device device) {
  add_reduce<Run>(device);
  add_conv2d<Run>(device);
  add_tile_mlp<Run>(device);
  add_label_planes<Run>(device);
}

}  // namespace asap::definitions
