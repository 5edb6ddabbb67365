// The CPU backend's kernels, family by family. Next: any file beside this one; the contract is ../kernels.h.
#include "tensor/cpu/register.h"

#include "tensor/backend.h"
#include "tensor/cpu/isa.h"
#include "tensor/cpu/targets.h"  // before Highway's own: it names the sets that do without

#include <hwy/targets.h>

namespace asap::cpu {
namespace {

// What Highway's dispatch may choose among (targets.h), beside the set that the whole program is compiled for.
int64_t allowed_targets() {
  if (isa() >= Isa::avx512) return HWY_AVX3 | HWY_AVX2;
  return isa() >= Isa::avx2 ? HWY_AVX2 : 0;
}

}  // namespace

void register_kernels() {
  hwy::GetChosenTarget().Update(allowed_targets());  // first: registrations ask which function it is
  register_copy();
  register_random();
  register_elementwise();
  register_reduce();
  register_gather();
  register_matmul();
  register_conv2d();
  register_norm();
  register_conv2d_instance_norm();
  register_pool();
  register_grid_sample();
  register_tile_mlp();
  register_label_planes();
  register_optim();
  register_naive();
}

}  // namespace asap::cpu
