// Collectives of a single rank: its own numbers are everybody's. Contract: kernels.h.
#pragma once

#include "tensor/definitions/copy.h"
#include "tensor/kernels.h"

namespace asap::definitions {

inline void check_alone(const char* op, const World& world) {
  ASAP_CHECK(world.size == 1, op, ": rank ", world.rank, " has no way to the other ranks of ", world.size,
             " here; this build lacks MPI, or NCCL for tensors of a card");
}

template <class Run>
void add_collectives(Device device) {
  kernels::all_reduce.add_definition(device, [](const World& world, DType, Tensor&) { check_alone("all_reduce", world); });
  kernels::broadcast.add_definition(device, [](const World& world, Tensor&) { check_alone("broadcast", world); });
  kernels::all_gather.add_definition(device, [](const World& world, const Tensor& x, Tensor& y) {
    check_alone("all_gather", world);
    Run::each(y, Copy{x.unsqueeze(0)});
  });
}

}  // namespace asap::definitions
