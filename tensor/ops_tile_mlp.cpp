// Checked front of ASAPNet's per-tile MLP: sizes, grid and phi must fit together before a kernel runs.
// Declared in ops.h; the kernels are cpu/tile_mlp*.cpp. Source: SPEC of the high-res stream, ASAPNet (CVPR 2021), section 3.
#include <bit>

#include "tensor/ops.h"

namespace asap {
namespace {

void check_params(const TileMlpParams& params) {
  if (params.tile < 1 || !std::has_single_bit(static_cast<uint64_t>(params.tile))) {
    const int64_t above = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(params.tile, 1))));
    fail("tile_mlp: tile must be a power of two, got ", params.tile, "; ",
         params.tile > 1 ? str(above / 2, " or ") : std::string(), above, " would do");
  }
  ASAP_CHECK(params.depth >= 1 && params.width >= 1 && params.out >= 1,
             "tile_mlp: depth, width and out must be at least 1, got depth ", params.depth, ", width ", params.width,
             ", out ", params.out);
  // The backward kernels read the sign under LeakyReLU off its output.
  ASAP_CHECK(params.slope >= 0, "tile_mlp: slope must not be negative, got ", params.slope);
}

void check_multiple(const char* what, int64_t size, int64_t tile, const Shape& x) {
  if (size >= tile && size % tile == 0) return;
  const int64_t below = size / tile * tile;
  fail("tile_mlp: x ", x, " has ", what, " ", size, ", which is no multiple of tile ", tile, "; ",
       below > 0 ? str(below, " or ") : std::string(), below + tile, " would do");
}

void check_dtypes(const char* op, const Tensor& x, const Tensor& phi) {
  ASAP_CHECK(x.defined() && phi.defined(), op, ": x and phi must be defined");
  ASAP_CHECK(is_floating(x.dtype()) && x.dtype() == phi.dtype(), op, ": x and phi must both be f32 or both f64, got ",
             x.dtype(), " and ", phi.dtype());
  ASAP_CHECK(x.device() == phi.device(), op, ": x is on ", x.device(), ", but phi on ", phi.device(),
             "; move one with Tensor::to");
}

}  // namespace

int64_t tile_mlp_parameters(int64_t channels, const TileMlpParams& params) {
  check_params(params);
  ASAP_CHECK(channels >= 1, "tile_mlp: x must have at least one channel, got ", channels);
  const int64_t inputs = add_sizes(channels, 4 * std::countr_zero(static_cast<uint64_t>(params.tile)), "tile_mlp");
  const auto layer = [](int64_t in, int64_t out) { return multiply_sizes(add_sizes(in, 1, "tile_mlp"), out, "tile_mlp"); };
  if (params.depth == 1) return layer(inputs, params.out);
  const int64_t middle = multiply_sizes(params.depth - 2, layer(params.width, params.width), "tile_mlp");
  return add_sizes(add_sizes(layer(inputs, params.width), middle, "tile_mlp"), layer(params.width, params.out), "tile_mlp");
}

Shape tile_mlp_shape(const Shape& x, const Shape& phi, const TileMlpParams& params) {
  check_params(params);
  ASAP_CHECK(x.rank() == 4 && phi.rank() == 4, "tile_mlp: expected x [B,C,H,W] and phi [B,P,H/tile,W/tile], got ", x,
             " and ", phi);
  check_multiple("height", x[2], params.tile, x);
  check_multiple("width", x[3], params.tile, x);
  const Shape wanted{x[0], tile_mlp_parameters(x[1], params), x[2] / params.tile, x[3] / params.tile};
  ASAP_CHECK(phi == wanted, "tile_mlp: x ", x, " with tile ", params.tile, ", width ", params.width, ", depth ",
             params.depth, ", out ", params.out, " needs phi ", wanted, ", got ", phi);
  return {x[0], params.out, x[2], x[3]};
}

Tensor tile_mlp(const Tensor& x, const Tensor& phi, const TileMlpParams& params) {
  check_dtypes("tile_mlp", x, phi);
  Tensor y = Tensor::like(x, tile_mlp_shape(x.shape(), phi.shape(), params));
  if (y.numel() > 0) kernels::tile_mlp_forward.run(x.device(), x.contiguous(), phi.contiguous(), params, y);
  return y;
}

TileMlpGrads tile_mlp_backward(const Tensor& x, const Tensor& phi, const Tensor& dy, const TileMlpParams& params,
                               bool want_dx) {
  check_dtypes("tile_mlp_backward", x, phi);
  const Shape y_shape = tile_mlp_shape(x.shape(), phi.shape(), params);
  ASAP_CHECK(dy.defined() && dy.shape() == y_shape, "tile_mlp_backward: dy must have y's shape ", y_shape, ", got ",
             dy.defined() ? dy.shape().str() : "an undefined tensor");
  ASAP_CHECK(dy.dtype() == x.dtype() && dy.device() == x.device(), "tile_mlp_backward: dy must be ", x.dtype(), " on ",
             x.device(), " like x, got ", dy.dtype(), " on ", dy.device());
  TileMlpGrads grads{want_dx ? Tensor::like(x) : Tensor(), Tensor::like(phi)};
  if (dy.numel() == 0) return grads;  // an empty batch: so are they
  kernels::tile_mlp_backward.run(x.device(), x.contiguous(), phi.contiguous(), dy.contiguous(), params, grads.dx,
                                 grads.dphi);
  return grads;
}

}  // namespace asap
