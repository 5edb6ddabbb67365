// Registers the CPU's variants of the per-tile MLP: the fused ones. Next: tile_mlp.h.
#include "tensor/cpu/tile_mlp.h"

#include "tensor/cpu/register.h"

namespace asap::cpu {
namespace {

bool is_like(const Tensor& x, const Tensor& phi) { return !x.defined() || x.dtype() == phi.dtype(); }
// Beside phi in bf16, x is f32 or bf16. A pixel's class is a number of 16 bits.
bool is_bf16(const Tensor& phi, const TileMlpParams& params) { return phi.dtype() == DType::bf16 && params.classes < 0xFFFF; }

}  // namespace

void register_tile_mlp() {
  kernels::tile_mlp_forward.add(
      Device::cpu, "bf16_blocks", tile_mlp_forward_bf16_blocks,
      [](const Tensor&, const Tensor&, const Tensor& phi, const TileMlpParams& params, Tensor& y) {
        return is_bf16(phi, params) && y.dtype() != DType::bf16;
      },
      {.bf16 = true});
  kernels::tile_mlp_forward.add(
      Device::cpu, "fused", tile_mlp_forward_fused,
      [](const Tensor&, const Tensor& x, const Tensor& phi, const TileMlpParams&, Tensor& y) {
        return is_like(x, phi) && (is_like(y, phi) || y.dtype() == DType::u8);
      });
  kernels::tile_mlp_backward.add(
      Device::cpu, "bf16_blocks", tile_mlp_backward_bf16_blocks,
      [](const Tensor&, const Tensor&, const Tensor& phi, const Tensor& dy, const TileMlpParams& params, Tensor&, Tensor&) {
        return is_bf16(phi, params) && dy.dtype() == DType::f32;
      },
      {.bf16 = true});
  kernels::tile_mlp_backward.add(
      Device::cpu, "fused", tile_mlp_backward_fused,
      [](const Tensor&, const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams&, Tensor& dx, Tensor& dphi) {
        return is_like(x, phi) && is_like(dy, phi) && is_like(dx, phi) && is_like(dphi, phi);
      });
}

}  // namespace asap::cpu
