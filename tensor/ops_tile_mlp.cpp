// Checked front of ASAPNet's per-tile MLP: sizes, grid and phi must fit together before a kernel runs.
// Declared in ops.h; the kernels are cpu/tile_mlp*.cpp. Source: ASAPNet (CVPR 2021), section 3.
#include <bit>

#include "tensor/checks.h"
#include "tensor/operands.h"
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

// The shape of y, once all fits together: f64 only with f64, f32 and bf16 as they come.
Shape check_inputs(const char* op, const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params) {
  ASAP_CHECK((labels.defined() || x.defined()) && phi.defined(), op, ": labels or x, and phi must be defined");
  checks::is_floating(op, "phi", phi);
  const auto beside_phi = [&](const char* what, const Tensor& input) {
    ASAP_CHECK(input.device() == phi.device(), op, ": ", what, " on ", input.device(), ", but phi on ", phi.device(),
               "; move one with Tensor::to");
  };
  if (labels.defined()) {
    checks::is_labels(op, labels);
    ASAP_CHECK(params.classes >= 1, op, ": expected a positive number of classes, got ", params.classes);
    beside_phi("labels are", labels);
  }
  int64_t channels = labels.defined() ? params.classes : 0;
  if (x.defined()) {
    checks::is_floating(op, "x", x);
    ASAP_CHECK((x.dtype() == DType::f64) == (phi.dtype() == DType::f64), op, ": f64 goes with f64 only, got x ", x.dtype(),
               " and phi ", phi.dtype());
    beside_phi("x is", x);
    checks::has_rank(op, "x", x.shape(), 4);
    channels = add_sizes(channels, x.size(1), "tile_mlp");
  }
  const Shape picture = labels.defined() ? labels.shape() : Shape{x.size(0), x.size(2), x.size(3)};
  if (labels.defined() && x.defined()) checks::has_shape(op, "x", x, {picture[0], x.size(1), picture[1], picture[2]});
  return tile_mlp_shape({picture[0], channels, picture[1], picture[2]}, phi.shape(), params);
}

Tensor forward(const char* op, const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params,
               bool picture) {
  const Shape values = check_inputs(op, labels, x, phi, params);
  const Layout layout = x.defined() ? x.layout() : Layout::row_major;
  Tensor y = picture ? Tensor::empty(picture_shape(values), DType::u8, phi.device())
                     : Tensor::empty(values, sum_dtype(phi.dtype()), phi.device(), layout);
  if (y.numel() > 0) kernels::tile_mlp_forward.run(phi.device(), labels, x, phi, params, y);
  return y;
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

Shape picture_shape(const Shape& values) {
  checks::has_rank("picture_shape", "values", values, 4);
  return {values[0], values[2], values[3], values[1]};
}

Tensor tile_mlp(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params) {
  return forward("tile_mlp", labels, x, phi, params, false);
}

Tensor tile_mlp_picture(const Tensor& labels, const Tensor& x, const Tensor& phi, const TileMlpParams& params) {
  return forward("tile_mlp_picture", labels, x, phi, params, true);
}

TileMlpGrads tile_mlp_backward(const Tensor& labels, const Tensor& x, const Tensor& phi, const Tensor& dy,
                               const TileMlpParams& params, bool want_dx) {
  const Shape y_shape = check_inputs("tile_mlp_backward", labels, x, phi, params);
  const DType y_dtype = sum_dtype(phi.dtype());
  ASAP_CHECK(dy.defined() && dy.shape() == y_shape, "tile_mlp_backward: dy must have y's shape ", y_shape, ", got ",
             dy.defined() ? dy.shape().str() : "an undefined tensor");
  ASAP_CHECK(dy.dtype() == y_dtype && dy.device() == phi.device(), "tile_mlp_backward: dy must be ", y_dtype, " on ",
             phi.device(), " like y, got ", dy.dtype(), " on ", dy.device());
  TileMlpGrads grads{want_dx && x.defined() ? Tensor::like(x) : Tensor(), Tensor::like(phi)};
  if (dy.numel() == 0) return grads;  // an empty batch: so are they
  kernels::tile_mlp_backward.run(phi.device(), labels, x, phi, cotangent_operand(phi, dy), params, grads.dx, grads.dphi);
  return grads;
}

}  // namespace asap
