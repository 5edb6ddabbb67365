// Rows of op_cases.h: ASAPNet's per-tile MLP. Hidden units have kinks: rows under gradcheck are small enough that none
// falls within a step.
#include <algorithm>
#include <bit>
#include <cmath>

#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

struct Row {
  const char* name;
  int64_t batch, channels, grid_h, grid_w;
  TileMlpParams params;
  bool gradcheck = true;
  // Hidden units within tf32's rounding of LeakyReLU's kink take its other slope, 100 times as steep: measured up to 0.016 of
  // the largest gradient of phi and 0.175 of x. The smooth rows show the rounding alone.
  bool tf32_kinks = false;
  double tolerance = 2e-6;
};

Shape x_shape(const Row& r) { return {r.batch, r.channels, r.grid_h * r.params.tile, r.grid_w * r.params.tile}; }
Shape phi_shape(const Row& r) { return {r.batch, tile_mlp_parameters(r.channels, r.params), r.grid_h, r.grid_w}; }

// Keeps the layers' outputs near 1: larger weights would saturate the tanh and multiply each layer's rounding.
double phi_scale(const Row& r) { return 1 / std::sqrt(static_cast<double>(std::max(r.channels, r.params.width))); }

// Multiply-adds of every pixel's layers, times two.
double flops(const Row& r) {
  double macs = 0;
  int64_t in = r.channels + 4 * std::countr_zero(static_cast<uint64_t>(r.params.tile));
  for (int64_t layer = 0; layer < r.params.depth; ++layer) {
    const int64_t out = layer + 1 < r.params.depth ? r.params.width : r.params.out;
    macs += static_cast<double>(in * out);
    in = out;
  }
  return 2 * macs * static_cast<double>(x_shape(r).numel() / r.channels);
}

void add_small(const Row& r, std::vector<OpCase>& rows) {
  for (const bool want_dx : {false, true}) {
    const OpInput x = normal(x_shape(r));
    rows.push_back({.name = str("tile_mlp/", r.name, want_dx ? "_dx" : ""),
                    .inputs = {want_dx ? x : constant(x), normal(phi_shape(r), phi_scale(r))},
                    .run = [p = r.params](const Inputs& in) { return tile_mlp(in[0], in[1], p); },
                    .slots = {&kernels::tile_mlp_forward, &kernels::tile_mlp_backward},
                    .tolerance = r.tolerance,
                    .tf32_tolerance = !r.tf32_kinks ? 2e-3 : want_dx ? 0.25 : 0.025,
                    .gradcheck = r.gradcheck});
  }
}

void add_large(const Row& r, std::vector<OpCase>& rows) {
  OpCase row;
  row.tolerance = 1e-5;
  row.large = true;
  row.name = str("tile_mlp/", r.name, "/forward");
  row.inputs = {constant(normal(x_shape(r))), constant(normal(phi_shape(r), phi_scale(r)))};
  row.slots = {&kernels::tile_mlp_forward};
  row.flops = flops(r);
  row.run = [p = r.params](const Inputs& in) { return Variable(tile_mlp(in[0].value(), in[1].value(), p)); };
  rows.push_back(row);

  // slope 1: among 16 million hidden values some lie within rounding of the kink and take its other side (1.5e-3 of the
  // largest gradient); the time is the same, and the small rows compare the kink.
  TileMlpParams smooth = r.params;
  smooth.slope = 1;
  // Recomputed hidden layers, weight gradients and gradients of the hidden layers: three products instead of one.
  row.name = str("tile_mlp/", r.name, "/backward");
  row.inputs.push_back(constant(normal({r.batch, r.params.out, x_shape(r)[2], x_shape(r)[3]})));
  row.slots = {&kernels::tile_mlp_backward};
  row.flops = 3 * flops(r);
  row.run = [p = smooth](const Inputs& in) {
    return Variable(tile_mlp_backward(in[0].value(), in[1].value(), in[2].value(), p, false).dphi);
  };
  rows.push_back(row);
}

}  // namespace

std::vector<OpCase> tile_mlp_cases() {
  std::vector<OpCase> rows;
  add_small({"tile_1", 1, 3, 3, 4, {.tile = 1, .width = 4, .depth = 2}}, rows);
  add_small({"tile_2", 2, 3, 3, 2, {.tile = 2, .width = 4, .depth = 3}}, rows);
  add_small({"tile_4", 1, 2, 2, 3, {.tile = 4, .width = 6, .depth = 3, .slope = 0.2}}, rows);
  add_small({"depth_1", 1, 3, 2, 2, {.tile = 4, .depth = 1}}, rows);
  add_small({"depth_1_one_output", 2, 1, 1, 1, {.tile = 4, .depth = 1, .out = 1}}, rows);
  add_small({"depth_5", 1, 3, 1, 2, {.tile = 2, .width = 5, .depth = 5, .out = 2}}, rows);
  add_small({"model_tile_16", 1, 13, 1, 2, {}, false, true}, rows);          // facades 256
  add_small({"model_tile_32", 1, 13, 1, 1, {.tile = 32}, false, true}, rows);  // facades 512
  add_small({"narrow_tile_16", 2, 5, 2, 1, {.width = 24, .depth = 3}, false, true}, rows);
  add_small({"model_tile_16_smooth", 1, 13, 1, 2, {.slope = 1}, false}, rows);
  add_small({"narrow_tile_16_smooth", 2, 5, 2, 1, {.width = 24, .depth = 3, .slope = 1}, false}, rows);
  add_small({"wide_tile_8", 1, 36, 1, 1, {.tile = 8, .width = 96, .depth = 2, .out = 5}, false}, rows);
  // What the fused variants on a card do: several turns of a warp and of a block over a tile, padded widths and outputs, inputs
  // that fill their steps and inputs that do not fit.
  add_small({"turns_tile_16", 1, 2, 3, 6, {.tile = 16, .width = 30, .depth = 2, .slope = 1}, false}, rows);
  add_small({"turns_tile_32", 1, 2, 1, 5, {.tile = 32, .width = 30, .depth = 2, .slope = 1}, false}, rows);
  // A weight's gradient is a float32 sum over 4096 pixels: 2.1e-6 measured of `composed` on the CPU.
  add_small({"tile_64", 1, 2, 1, 1, {.tile = 64, .width = 30, .depth = 2, .slope = 1}, false, false, 4e-6}, rows);
  add_small({"out_8", 1, 3, 1, 2, {.tile = 8, .depth = 3, .out = 8, .slope = 1}, false}, rows);
  add_small({"width_40_out_5", 2, 3, 1, 1, {.tile = 8, .width = 40, .depth = 4, .out = 5, .slope = 1}, false}, rows);
  add_small({"inputs_64", 1, 52, 1, 1, {.tile = 8, .width = 20, .depth = 2, .slope = 1}, false}, rows);
  add_small({"inputs_65", 1, 53, 1, 1, {.tile = 8, .width = 20, .depth = 2, .slope = 1}, false}, rows);
  add_small({"depth_6", 1, 2, 1, 1, {.tile = 4, .width = 8, .depth = 6}}, rows);
  add_large({"facades_256", 1, 13, 16, 16, {.tile = 16}}, rows);
  add_large({"facades_512", 1, 13, 16, 16, {.tile = 32}}, rows);
  return rows;
}

}  // namespace asap::tests
