// Rows of op_cases.h: the kernels of inference. Their outputs are planned by the caller, so a row makes its own; without
// gradients they are computed on tensors.
#include <bit>
#include <cmath>

#include "tests/op_cases.h"

namespace asap::tests {
namespace {

using Inputs = std::vector<Variable>;

// An operand rounded to bf16 is the same number in the f64 reference; a result kept in bf16 is off by half a unit in the
// last of 8 bits, 2^-8 of it.
constexpr double kBf16Result = 4e-3;
// A picture's value may fall on the other side of a whole number: one step, where the largest value is over 100.
constexpr double kPictureStep = 1.0 / 100;

DType widest(const Inputs& in) {
  for (const Variable& input : in) {
    if (input.dtype() == DType::f64) return DType::f64;
  }
  return DType::f32;
}

// What harness and backward pass can hold: numbers in the type of the run.
Variable result(const Tensor& y, const Inputs& in) { return Variable(y.to(widest(in))); }

Shape in_layout(const Shape& nchw, Layout layout) {
  return layout == Layout::row_major ? nchw : Shape{nchw[0], nchw[2], nchw[3], nchw[1]};
}
const char* name(Layout layout) { return layout == Layout::row_major ? "nchw" : "nhwc"; }

// f32 whatever the run's type: the numbers are exact in it.
Tensor f32(const Variable& x) { return x.value().to(DType::f32); }

// ---- label_planes ---------------------------------------------------------------------------------------------------

struct PlanesRow {
  const char* name;
  Shape labels;
  int64_t classes, factor, channels;
  bool instance = false, bf16_result = false, outside = false;  // outside: some labels are no class
};

// Inputs: labels, one number of the run's type, then perhaps the instance channel.
OpCase planes_case(const PlanesRow& r, Layout layout) {
  OpCase row;
  row.name = str("label_planes/", r.name, "_", name(layout));
  row.inputs = {compact(indices(r.labels, r.classes + (r.outside ? 3 : 0))), constant(normal({1}))};
  if (r.instance) row.inputs.push_back(constant(normal({r.labels[0], 1, r.labels[1], r.labels[2]})));
  row.slots = {&kernels::label_planes};
  row.tolerance = r.bf16_result ? kBf16Result : 2e-6;
  row.run = [r, layout](const Inputs& in) {
    const LabelPlanesParams params{.classes = r.classes, .factor = r.factor, .channels = r.channels, .layout = layout};
    const DType dtype = r.bf16_result && widest(in) == DType::f32 ? DType::bf16 : widest(in);
    Tensor y = Tensor::empty(label_planes_shape(in[0].shape(), params), dtype, in[0].device());
    label_planes(in[0].value(), in.size() > 2 ? f32(in[2]) : Tensor(), params, y);
    return result(y, in);
  };
  return row;
}

void add_planes(std::vector<OpCase>& rows) {
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (const PlanesRow& r : std::vector<PlanesRow>{
             {"factor_1", {2, 5, 7}, 4, 1, 4},
             {"factor_1_instance_padded", {1, 6, 5}, 3, 1, 8, true},
             {"factor_2", {2, 6, 10}, 5, 2, 5},
             {"factor_2_smallest", {1, 2, 2}, 2, 2, 2},
             {"factor_2_instance_padded", {1, 8, 6}, 13, 2, 16, true},
             {"factor_4", {1, 12, 8}, 3, 4, 3},
             {"factor_4_instance_outside", {2, 8, 20}, 3, 4, 6, true, false, true},
             {"factor_1_outside", {1, 5, 9}, 3, 1, 3, false, false, true},
             {"factor_8_one_class", {1, 8, 16}, 1, 8, 1},
             {"factor_1_bf16", {1, 4, 6}, 5, 1, 8, true, true},
             {"factor_2_bf16", {1, 8, 6}, 5, 2, 8, true, true},
             {"rows_factor_1", {1, 37, 301}, 13, 1, 16, true},
             {"rows_factor_2", {2, 66, 130}, 36, 2, 40, true},
         }) {
      rows.push_back(planes_case(r, layout));
    }
    OpCase large = planes_case({"facades_512", {1, 512, 512}, 13, 2, layout == Layout::row_major ? 13 : 16}, layout);
    large.name = str("label_planes/facades_512_", name(layout));
    large.large = true;
    rows.push_back(large);
  }
}

// ---- tile_mlp_labels ------------------------------------------------------------------------------------------------

struct MlpRow {
  const char* name;
  int64_t batch, grid_h, grid_w, classes;
  TileMlpParams mlp;
  bool instance = false, outside = false, bf16_phi = false;
  int64_t spare = 0;  // channels of phi behind the MLP's
};

int64_t mlp_channels(const MlpRow& r) { return r.classes + (r.instance ? 1 : 0); }

// Inputs: labels, phi in the row's layout, then perhaps the instance channel.
OpCase mlp_case(const MlpRow& r, Layout layout, bool picture) {
  const int64_t h = r.grid_h * r.mlp.tile, w = r.grid_w * r.mlp.tile;
  const Shape phi{r.batch, tile_mlp_parameters(mlp_channels(r), r.mlp) + r.spare, r.grid_h, r.grid_w};
  // Keeps the layers' outputs near 1, as in the rows of tile_mlp.
  const double scale = 1 / std::sqrt(static_cast<double>(std::max(mlp_channels(r), r.mlp.width)));
  OpCase row;
  row.name = str("tile_mlp_labels/", r.name, "_", name(layout), picture ? "_picture" : "");
  const OpInput weights = constant(normal(in_layout(phi, layout), scale));
  row.inputs = {compact(indices({r.batch, h, w}, r.classes + (r.outside ? 2 : 0))),
                r.bf16_phi ? compact(weights) : weights};
  if (r.instance) row.inputs.push_back(constant(normal({r.batch, 1, h, w})));
  if (r.bf16_phi) row.inputs.push_back(constant(normal({1})));  // of the run's type
  row.slots = {&kernels::tile_mlp_labels};
  row.tolerance = picture ? kPictureStep : 2e-6;
  row.run = [r, layout, picture](const Inputs& in) {
    const TileMlpLabelsParams params{.mlp = r.mlp, .classes = r.classes, .phi_layout = layout};
    const Shape values = tile_mlp_labels_shape(in[0].shape(), r.instance, in[1].shape(), params);
    Tensor y = picture ? Tensor::empty(picture_shape(values), DType::u8, in[0].device())
                       : Tensor::empty(values, widest(in), in[0].device());
    tile_mlp_labels(in[0].value(), r.instance ? f32(in[2]) : Tensor(), in[1].value(), params, y);
    return result(y, in);
  };
  return row;
}

// Multiply-adds of every pixel's layers on the written-out input, times two.
double mlp_flops(const MlpRow& r) {
  double macs = 0;
  int64_t in = mlp_channels(r) + 4 * std::countr_zero(static_cast<uint64_t>(r.mlp.tile));
  for (int64_t layer = 0; layer < r.mlp.depth; ++layer) {
    const int64_t out = layer + 1 < r.mlp.depth ? r.mlp.width : r.mlp.out;
    macs += static_cast<double>(in * out);
    in = out;
  }
  return 2 * macs * static_cast<double>(r.batch * r.grid_h * r.grid_w * r.mlp.tile * r.mlp.tile);
}

void add_mlps(std::vector<OpCase>& rows) {
  const std::vector<MlpRow> small{
      {"tile_1", 1, 3, 4, 3, {.tile = 1, .width = 4, .depth = 2}},
      {"tile_2_instance", 2, 3, 2, 3, {.tile = 2, .width = 4, .depth = 3}, true},
      {"tile_4_outside", 1, 2, 3, 2, {.tile = 4, .width = 6, .depth = 3, .slope = 0.2}, false, true},
      {"depth_1", 1, 2, 2, 3, {.tile = 4, .depth = 1}},
      {"depth_1_instance", 2, 1, 1, 1, {.tile = 4, .depth = 1, .out = 1}, true, true},
      {"depth_5_spare", 1, 1, 2, 3, {.tile = 2, .width = 5, .depth = 5, .out = 2}, false, false, false, 3},
      {"model_tile_16", 1, 1, 3, 13, {.tile = 16}, false, false, false, 5},
      {"model_tile_32", 1, 1, 1, 13, {.tile = 32}},
      {"quick_tile_8", 1, 3, 2, 13, {.tile = 8, .width = 32}},
      {"classes_16", 1, 1, 2, 16, {.tile = 8, .width = 12, .depth = 3}, false, true},
      {"classes_35_instance", 2, 1, 2, 35, {.tile = 16, .width = 24, .depth = 3}, true, true},
      {"classes_200", 1, 1, 1, 200, {.tile = 16, .width = 7, .depth = 2, .out = 4}, true, true},
      {"bf16_tile_8", 1, 2, 1, 5, {.tile = 8, .width = 16, .depth = 3}, false, false, true},
      {"bf16_model_tile_16", 1, 1, 1, 13, {.tile = 16}, false, false, true, 5},
  };
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (const MlpRow& r : small) {
      rows.push_back(mlp_case(r, layout, false));
      if (!r.bf16_phi) rows.push_back(mlp_case(r, layout, true));
    }
    for (MlpRow r : std::vector<MlpRow>{{"facades_256", 1, 16, 16, 13, {.tile = 16}},
                                        {"facades_512", 1, 16, 16, 13, {.tile = 32}}}) {
      for (const bool bf16 : {false, true}) {
        if (bf16 && layout == Layout::row_major) continue;
        r.bf16_phi = bf16;
        if (layout == Layout::channels_last) r.spare = 8 - tile_mlp_parameters(mlp_channels(r), r.mlp) % 8;
        OpCase row = mlp_case(r, layout, true);
        if (bf16) row.name += "_bf16";
        row.large = true;
        row.flops = mlp_flops(r);
        rows.push_back(row);
      }
    }
  }
}

}  // namespace

std::vector<OpCase> inference_cases() {
  std::vector<OpCase> rows;
  add_planes(rows);
  add_mlps(rows);
  return rows;
}

}  // namespace asap::tests
