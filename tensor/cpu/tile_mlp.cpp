// Registers the CPU's variants of the per-tile MLP. The definition: ../definitions/tile_mlp.h; next: tile_mlp_fused.h.
#include "tensor/cpu/tile_mlp.h"

#include "tensor/cpu/register.h"

namespace asap::cpu {

void register_tile_mlp() {
  kernels::tile_mlp_forward.add(Device::cpu, "fused", tile_mlp_forward_fused,
                                [](const Tensor& labels, const Tensor&, const Tensor&, const TileMlpParams&,
                                   Tensor& y) { return !labels.defined() && y.dtype() != DType::u8; });
  kernels::tile_mlp_backward.add(Device::cpu, "fused", tile_mlp_backward_fused,
                                 [](const Tensor& labels, const Tensor&, const Tensor&, const Tensor&, const TileMlpParams&,
                                    Tensor&, Tensor&) { return !labels.defined(); });
}

}  // namespace asap::cpu
