// ASAPNet's per-tile MLP beside its gradient: hidden layers are recomputed, so only its inputs are kept.
// Declared in ops.h; the definition is TileMlpForwardFn in tensor/kernels.h.
#include "autograd/ops.h"

namespace asap {

// labels [B,H,W] and x [B,C,H,W], one of which may be undefined, phi [B,P,H/tile,W/tile] -> [B,out,H,W].
Variable tile_mlp(const Tensor& labels, const Variable& x, const Variable& phi, const TileMlpParams& params) {
  const Tensor values = x.defined() ? x.value() : Tensor();
  return make_result("tile_mlp", tile_mlp(labels, values, phi.value(), params), {x, phi},
                     [params, saved_labels = Saved(labels), saved_x = Saved(values), saved_phi = Saved(phi.value())](
                         const Tensor& dy, std::span<const bool> needs) -> std::vector<Tensor> {
                       TileMlpGrads grads = tile_mlp_backward(saved_labels.get("tile_mlp"), saved_x.get("tile_mlp"),
                                                              saved_phi.get("tile_mlp"), dy, params, needs[0]);
                       return {std::move(grads.dx), std::move(grads.dphi)};
                     });
}

}  // namespace asap
