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
  // Hidden units within a rounding of LeakyReLU's kink take its other slope, 100 times as steep: measured up to 0.016 of the
  // largest gradient of phi and 0.175 of x in tf32, 0.032 and 0.33 in bf16. The smooth rows show the rounding alone.
  bool kinks = false;
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
                    .run = [p = r.params](const Inputs& in) { return tile_mlp({}, in[0], in[1], p); },
                    .slots = {&kernels::tile_mlp_forward, &kernels::tile_mlp_backward},
                    .tolerance = r.tolerance,
                    .tf32_tolerance = !r.kinks ? 2e-3 : want_dx ? 0.25 : 0.025,
                    .bf16_tolerance = !r.kinks ? 2e-2 : want_dx ? 0.4 : 0.04,
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
  row.run = [p = r.params](const Inputs& in) { return Variable(tile_mlp({}, in[0].value(), in[1].value(), p)); };
  rows.push_back(row);

  // slope 1: among 16 million hidden values some lie within rounding of the kink and take its other side (1.5e-3 of the
  // largest gradient); the time is the same, and the small rows compare the kink.
  TileMlpParams smooth = r.params;
  smooth.slope = 1;
  // Recomputed hidden layers, weight gradients and gradients of the hidden layers: three products instead of one.
  row.name = str("tile_mlp/", r.name, "/backward");
  row.inputs.push_back(constant(parameter(normal({r.batch, r.params.out, x_shape(r)[2], x_shape(r)[3]}))));  // f32, as y is
  row.slots = {&kernels::tile_mlp_backward};
  row.flops = 3 * flops(r);
  row.run = [p = smooth](const Inputs& in) {
    return Variable(tile_mlp_backward({}, in[0].value(), in[1].value(), in[2].value(), p, false).dphi);
  };
  rows.push_back(row);
}

// ---- from labels ----------------------------------------------------------------------------------------------------

// `bf16_blocks` rounds its inputs and what lies between layers to 8 bits: 3.9e-3 measured of three layers, 5.0e-3 of five, and
// 5.2e-3 of the gradient, which is bf16 itself.
constexpr double kBf16Layers = 1e-2;
// A picture's value may fall on the other side of a whole number: one step, where the largest value is over 100.
constexpr double kPictureStep = 1.0 / 100;

// params.classes counts; r.channels are x's, 0: none.
struct LabelRow {
  Row r;
  bool outside = false;  // some labels are no class
  bool bytes = true;     // u8, else i32
};

int64_t all_channels(const Row& r) { return r.params.classes + r.channels; }

// Inputs: labels, phi, then x if there is one.
std::vector<OpInput> label_inputs(const LabelRow& l) {
  const Row& r = l.r;
  const int64_t height = r.grid_h * r.params.tile, width = r.grid_w * r.params.tile;
  const OpInput labels = indices({r.batch, height, width}, r.params.classes + (l.outside ? 2 : 0));
  const Shape phi{r.batch, tile_mlp_parameters(all_channels(r), r.params), r.grid_h, r.grid_w};
  const double scale = 1 / std::sqrt(static_cast<double>(std::max(all_channels(r), r.params.width)));
  std::vector<OpInput> inputs{l.bytes ? compact(labels) : labels, normal(phi, scale)};
  if (r.channels > 0) inputs.push_back(normal({r.batch, r.channels, height, width}));
  return inputs;
}
Tensor x_of(const Inputs& in) { return in.size() > 2 ? in[2].value() : Tensor(); }

// Forward and backward; then what has no gradient here: channels-last inputs and pictures.
void add_labels(const LabelRow& l, std::vector<OpCase>& rows) {
  OpCase row;
  row.name = str("tile_mlp/labels_", l.r.name, l.bytes ? "" : "_i32");
  row.inputs = label_inputs(l);
  row.run = [p = l.r.params](const Inputs& in) {
    return tile_mlp(in[0].value(), in.size() > 2 ? in[2] : Variable(), in[1], p);
  };
  row.slots = {&kernels::tile_mlp_forward, &kernels::tile_mlp_backward};
  row.tolerance = l.r.tolerance;
  row.tf32_tolerance = l.r.kinks ? 0.25 : 2e-3;
  row.bf16_tolerance = !l.r.kinks ? 2e-2 : l.r.channels > 0 ? 0.4 : 0.04;
  row.gradcheck = l.r.gradcheck;
  rows.push_back(row);

  for (OpInput& input : row.inputs) input.differentiable = false;
  row.name += "_channels_last";
  row.slots = {&kernels::tile_mlp_forward};
  row.run = [p = l.r.params](const Inputs& in) {
    const Tensor x = x_of(in);
    return Variable(tile_mlp(in[0].value(), x.defined() ? x.to(Layout::channels_last) : x,
                             in[1].value().to(Layout::channels_last), p));
  };
  rows.push_back(row);

  row.name = str("tile_mlp/labels_", l.r.name, l.bytes ? "" : "_i32", "_picture");
  row.tolerance = kPictureStep;
  row.run = [p = l.r.params](const Inputs& in) {
    return Variable(tile_mlp_picture(in[0].value(), x_of(in), in[1].value(), p).to(in[1].dtype()));
  };
  rows.push_back(row);
}

// phi in bf16, forward and its gradient, which is bf16 too; the last input is of the run's type.
void add_bf16(const LabelRow& l, std::vector<OpCase>& rows) {
  OpCase row;
  row.name = str("tile_mlp/labels_", l.r.name, "_bf16");
  row.inputs = label_inputs(l);
  row.inputs[1] = compact(row.inputs[1]);
  row.inputs.push_back(constant(parameter(normal({l.r.batch, l.r.params.out, l.r.grid_h * l.r.params.tile, l.r.grid_w * l.r.params.tile}))));
  row.slots = {&kernels::tile_mlp_forward};
  row.tolerance = kBf16Layers;
  row.run = [p = l.r.params](const Inputs& in) { return Variable(tile_mlp(in[0].value(), {}, in[1].value(), p)); };
  rows.push_back(row);
  row.name += "_backward";
  row.slots = {&kernels::tile_mlp_backward};
  row.tolerance = kBf16Layers;
  row.run = [p = l.r.params](const Inputs& in) {
    return Variable(tile_mlp_backward(in[0].value(), {}, in[1].value(), in[2].value(), p, false).dphi.to(in[2].dtype()));
  };
  rows.push_back(row);
}

// What a session asks for, in either layout, and the gradient that training asks for.
void add_large_labels(const char* name, int64_t tile, std::vector<OpCase>& rows) {
  const LabelRow l{{name, 1, 0, 16, 16, {.tile = tile, .classes = 13}}};
  for (const bool channels_last : {false, true}) {
    for (const bool bf16 : {false, true}) {
      if (bf16 && !channels_last) continue;
      OpCase row;
      row.name = str("tile_mlp/labels_", name, "/picture", channels_last ? "_channels_last" : "", bf16 ? "_bf16" : "");
      row.inputs = label_inputs(l);
      row.inputs[1] = bf16 ? compact(row.inputs[1]) : constant(row.inputs[1]);
      row.slots = {&kernels::tile_mlp_forward};
      row.tolerance = kPictureStep;
      row.large = true;
      row.flops = flops({name, 1, 13, 16, 16, {.tile = tile}});
      row.run = [p = l.r.params, channels_last](const Inputs& in) {
        const Tensor phi = in[1].value();
        return Variable(tile_mlp_picture(in[0].value(), {}, channels_last ? phi.to(Layout::channels_last) : phi, p));
      };
      rows.push_back(row);
    }
  }
  OpCase row;
  row.name = str("tile_mlp/labels_", name, "/backward");
  row.inputs = label_inputs(l);
  row.inputs[1] = constant(row.inputs[1]);
  row.inputs.push_back(constant(normal({1, 3, 16 * tile, 16 * tile})));
  row.slots = {&kernels::tile_mlp_backward};
  row.tolerance = 1e-5;
  row.large = true;
  row.flops = 3 * flops({name, 1, 13, 16, 16, {.tile = tile}});
  TileMlpParams smooth = l.r.params;
  smooth.slope = 1;
  row.run = [p = smooth](const Inputs& in) {
    return Variable(tile_mlp_backward(in[0].value(), {}, in[1].value(), in[2].value(), p, false).dphi);
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
  for (const LabelRow& l : std::vector<LabelRow>{
           {{"tile_1", 1, 0, 3, 4, {.tile = 1, .width = 4, .depth = 2, .classes = 3}}},
           {{"tile_2_x", 2, 1, 3, 2, {.tile = 2, .width = 4, .depth = 3, .classes = 3}}},
           {{"tile_4_outside", 1, 0, 2, 3, {.tile = 4, .width = 6, .depth = 3, .slope = 0.2, .classes = 2}}, true, false},
           {{"depth_1", 1, 0, 2, 2, {.tile = 4, .depth = 1, .classes = 3}}},
           {{"depth_1_x_outside", 2, 1, 1, 1, {.tile = 4, .depth = 1, .out = 1, .classes = 1}}, true},
           {{"depth_5", 1, 0, 1, 2, {.tile = 2, .width = 5, .depth = 5, .out = 2, .classes = 3}}, false, false},
           {{"x_3_outside", 1, 3, 1, 2, {.tile = 4, .width = 9, .depth = 2, .classes = 5}}, true, false},
           {{"model_tile_16", 1, 0, 1, 3, {.classes = 13}, false, true}},
           {{"model_tile_32_x", 1, 1, 1, 1, {.tile = 32, .classes = 13}, false, true}},
           {{"quick_tile_8", 1, 0, 3, 2, {.tile = 8, .width = 32, .classes = 13}, false, true}},
           {{"classes_16_outside", 1, 0, 1, 2, {.tile = 8, .width = 12, .depth = 3, .slope = 1, .classes = 16}, false}, true},
           {{"classes_35_x_outside", 2, 1, 1, 2, {.tile = 16, .width = 24, .depth = 3, .slope = 1, .classes = 35}, false}, true},
           {{"classes_200_x", 1, 1, 1, 1, {.tile = 16, .width = 7, .depth = 2, .out = 4, .slope = 1, .classes = 200}, false}, true},
           {{"classes_300", 1, 0, 1, 1, {.tile = 8, .width = 7, .depth = 2, .slope = 1, .classes = 300}, false}, true, false},
           {{"many_tiles", 2, 0, 4, 5, {.tile = 4, .width = 10, .depth = 2, .slope = 1, .classes = 6}, false}, true},
       }) {
    add_labels(l, rows);
  }
  add_bf16({{"tile_8", 1, 0, 2, 1, {.tile = 8, .width = 16, .depth = 3, .slope = 1, .classes = 5}}}, rows);
  add_bf16({{"model_tile_16", 1, 0, 1, 1, {.slope = 1, .classes = 13}}}, rows);
  add_large({"facades_256", 1, 13, 16, 16, {.tile = 16}}, rows);
  add_large({"facades_512", 1, 13, 16, 16, {.tile = 32}}, rows);
  add_large_labels("facades_256", 16, rows);
  add_large_labels("facades_512", 32, rows);
  return rows;
}

}  // namespace asap::tests
