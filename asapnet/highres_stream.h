// The high-res stream (docs/asapnet.md; paper section 3.1): every S x S tile runs its own small MLP on each of its pixels,
// fed with the label channels and the pixel's position in the tile. The work is done by the op tile_mlp.
#pragma once

#include "asapnet/config.h"
#include "autograd/ops.h"

namespace asap::asapnet {

TileMlpParams mlp_params(const Config& config);

// What the MLPs see of x: of all input channels, or of the instance channel beside labels. Undefined where nothing is left.
Variable highres_input(const Tensor& labels, const Variable& x, const Config& config);
// labels [N,H,W] or undefined; x beside them the instance channel, else all input channels [N,C,H,W]; phi [N,P,H/S,W/S] ->
// picture [N,output_nc,H,W] in [-1,1].
Variable highres_stream(const Tensor& labels, const Variable& x, const Variable& phi, const Config& config);

}  // namespace asap::asapnet
