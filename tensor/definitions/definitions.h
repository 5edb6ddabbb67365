// All definitions, in the order of kernels.h, and how they become the variant `naive` of their slots on a device. Run says how
// the device walks over independent work:
//   Run::each(y, f)       y's element = f(its position), or f(its number in row-major order)
//   Run::lines(count, f)  f(0), f(1), ... f(count - 1), each of which writes what is its own
// Next: cpu/naive.cpp and the CUDA backend's naive.cu for the two.
#pragma once

#include "tensor/definitions/collectives.h"
#include "tensor/definitions/conv2d.h"
#include "tensor/definitions/copy.h"
#include "tensor/definitions/elementwise.h"
#include "tensor/definitions/gather.h"
#include "tensor/definitions/grid_sample.h"
#include "tensor/definitions/label_planes.h"
#include "tensor/definitions/matmul.h"
#include "tensor/definitions/norm.h"
#include "tensor/definitions/optim.h"
#include "tensor/definitions/pool.h"
#include "tensor/definitions/random.h"
#include "tensor/definitions/reduce.h"
#include "tensor/definitions/resize.h"
#include "tensor/definitions/tile_mlp.h"

namespace asap::definitions {

template <class Run>
void add_all(Device device) {
  add_copy<Run>(device);
  add_random<Run>(device);
  add_elementwise<Run>(device);
  add_reduce<Run>(device);
  add_gather<Run>(device);
  add_matmul<Run>(device);
  add_conv2d<Run>(device);
  add_norm<Run>(device);
  add_pool<Run>(device);
  add_resize<Run>(device);
  add_grid_sample<Run>(device);
  add_tile_mlp<Run>(device);
  add_label_planes<Run>(device);
  add_optim<Run>(device);
  add_collectives<Run>(device);
}

}  // namespace asap::definitions
