// Registers the CPU's variants of the per-tile MLP: the fused ones. Next: tile_mlp.h.
#include "tensor/cpu/tile_mlp.h"

#include "tensor/cpu/register.h"

namespace asap::cpu {
namespace {

bool is_like(const Tensor& x, const Tensor& phi) { return !x.defined() || x.dtype() == phi.dtype(); }

}  // namespace

void register_tile_mlp() {
  kernels::tile_mlp_forward.add(
      Device::cpu, "fused", tile_mlp_forward_fused,
      [](const Tensor&, const Tensor& x, const Tensor& phi, const TileMlpParams&, Tensor& y) {
        return is_like(x, phi) && (is_like(y, phi) || y.dtype() == DType::u8);
      });
  kernels::tile_mlp_backward.add(
      Device::cpu, "fused", tile_mlp_backward_fused,
      [](const Tensor&, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams&, Tensor& dx, Tensor& dphi) {
        return is_like(x, phi) && is_like(dy, phi) && is_like(dx, phi) && is_like(dphi, phi);
      });
}

}  // namespace asap::cpu
