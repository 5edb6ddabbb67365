// ASAPNet's per-tile MLP beside its gradient: hidden layers are recomputed, so only x and phi are kept.
// Declared in ops.h; the definition is TileMlpForwardFn in tensor/kernels.h.
#include "autograd/ops.h"

namespace asap {

// x [B,C,H,W] (labels as a rule: no gradient wanted), phi [B,P,H/tile,W/tile] -> [B,out,H,W].
Variable tile_mlp(const Variable& x, const Variable& phi, const TileMlpParams& params) {
  return make_result("tile_mlp", tile_mlp(x.value(), phi.value(), params), {x, phi},
                     [params, saved_x = Saved(x.value()), saved_phi = Saved(phi.value())](
                         const Tensor& dy, std::span<const bool> needs) -> std::vector<Tensor> {
                       TileMlpGrads grads = tile_mlp_backward(saved_x.get("tile_mlp"), saved_phi.get("tile_mlp"), dy,
                                                              params, needs[0]);
                       return {std::move(grads.dx), std::move(grads.dphi)};
                     });
}

}  // namespace asap
