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

constexpr const char *kOwnTypes = "the row chooses its types", *kOwnLayout = "the row chooses its layout";

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
  row.not_bf16 = kOwnTypes, row.row_major = kOwnLayout;
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

// ---- conv_layer -----------------------------------------------------------------------------------------------------

struct LayerRow {
  const char* name;
  Shape x, w;  // NCHW, OIHW
  ConvLayerParams params = {};
  bool bf16_operands = false, bf16_result = false;
  double tolerance = 5e-6;  // x - mean cancels digits, as in the rows of instance_norm
};

// Inputs: x and w in the row's layout, then shift and, with norm, scale.
OpCase layer_case(const LayerRow& r, Layout layout) {
  const auto operand = [&](const Shape& shape, double scale) {
    const OpInput input = constant(normal(in_layout(shape, layout), scale));
    return r.bf16_operands ? compact(input) : input;
  };
  OpCase row;
  row.name = str("conv_layer/", r.name, "_", name(layout));
  const int64_t products = r.w.numel() / r.w[0];  // of a sum
  row.inputs = {operand(r.x, 1), operand(r.w, 1 / std::sqrt(static_cast<double>(products))),
                constant(normal({r.w[0]}))};
  if (r.params.norm) row.inputs.push_back(constant(normal({r.w[0]})));
  row.slots = {&kernels::conv_layer};
  row.not_bf16 = kOwnTypes, row.row_major = kOwnLayout;
  row.tolerance = r.bf16_result ? kBf16Result : r.tolerance;
  if (r.bf16_operands) row.bf16_tolerance = row.tolerance;  // nothing is left to round
  row.run = [params = r.params, bf16_result = r.bf16_result, layout](const Inputs& in) {
    ConvLayerParams p = params;
    p.layout = layout;
    const DType dtype = bf16_result && in[0].dtype() != DType::f64 ? DType::bf16 : widest(in);
    Tensor y = Tensor::empty(conv_layer_shape(in[0].shape(), in[1].shape(), p), dtype, in[0].device());
    conv_layer(in[0].value(), in[1].value(), p.norm ? f32(in[3]) : Tensor(), f32(in[2]), p, y);
    return result(y, in);
  };
  return row;
}

void add_layers(std::vector<OpCase>& rows) {
  const NormParams relu{.activation_slope = 0}, leaky{.eps = 1e-3, .activation_slope = 0.2};
  const ConvLayerParams zero{.pad = 1, .norm_params = relu};
  const ConvLayerParams reflect{.pad_mode = PadMode::reflect, .pad = 1, .norm_params = relu};
  const ConvLayerParams replicate{.pad_mode = PadMode::replicate, .pad = 2, .norm_params = leaky};
  const auto strided = [](ConvLayerParams p) {
    p.stride = 2;
    return p;
  };
  const ConvLayerParams replicate1{.pad_mode = PadMode::replicate, .pad = 1, .norm_params = leaky};
  const ConvLayerParams bias{.norm = false};
  ConvLayerParams padded_bias = reflect;
  padded_bias.norm = false;
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    for (
        const LayerRow& r : std::vector<LayerRow>{
            {"3x3_zero", {2, 3, 5, 7}, {4, 3, 3, 3}, zero},
            {"3x3_reflect", {1, 5, 7, 4}, {3, 5, 3, 3}, reflect},
            {"5x5_replicate_leaky", {1, 2, 6, 5}, {3, 2, 5, 5}, replicate},
            {"3x3_zero_s2", {1, 3, 7, 9}, {5, 3, 3, 3}, strided(zero)},
            {"3x3_reflect_s2", {2, 4, 6, 10}, {5, 4, 3, 3}, strided(reflect)},
            {"3x3_no_pad", {1, 3, 5, 5}, {2, 3, 3, 3}, {.norm_params = relu}},
            {"3x3_bias", {1, 3, 5, 6}, {4, 3, 3, 3}, padded_bias},
            {"1x1_bias", {2, 7, 3, 5}, {11, 7, 1, 1}, bias},
            {"1x1_norm", {1, 6, 5, 3}, {4, 6, 1, 1}, {.norm_params = leaky}},
            // Blocks of fast variants, with remainders; the models' own layers, smaller.
            {"3x3_16_72_odd", {1, 16, 19, 13}, {72, 16, 3, 3}, reflect},
            {"3x3_64_64_@16", {2, 64, 16, 16}, {64, 64, 3, 3}, reflect},
            {"3x3_72_136_@12", {1, 72, 12, 12}, {136, 72, 3, 3}, zero},
            {"3x3_s2_64_40_@18", {1, 64, 18, 18}, {40, 64, 3, 3}, strided(replicate)},
            {"1x1_64_200_@16", {1, 64, 16, 16}, {200, 64, 1, 1}, bias},
            {"1x1_40_203_@5", {2, 40, 5, 5}, {203, 40, 1, 1}, bias},
            {"3x3_bf16_zero", {2, 8, 5, 7}, {16, 8, 3, 3}, zero, true, true},
            {"3x3_bf16_reflect_s2", {1, 16, 8, 8}, {24, 16, 3, 3}, strided(reflect), true, true},
            {"3x3_bf16_72_136_@12", {1, 72, 12, 12}, {136, 72, 3, 3}, reflect, true, true},
            {"1x1_bf16_64_200_@16", {1, 64, 16, 16}, {200, 64, 1, 1}, bias, true, true},
            {"1x1_bf16_to_f32", {1, 16, 4, 4}, {40, 16, 1, 1}, bias, true, false},
            // Sums split over blocks: uneven splits, outputs that no vector store takes, norm and bias.
            {"3x3_split_40_37_@9", {1, 40, 9, 7}, {37, 40, 3, 3}, replicate1},
            {"3x3_split_40_37_@9_bf16", {1, 40, 9, 7}, {37, 40, 3, 3}, replicate1, true, true},
            {"3x3_split_bias_56_21_@6", {1, 56, 6, 5}, {21, 56, 3, 3}, padded_bias, true, true},
            {"1x1_split_bias_136_24_@6", {1, 136, 6, 5}, {24, 136, 1, 1}, bias},
            // A kept window of pixels: three slices of channels in a block, rows of y that end within a tile.
            {"3x3_slices_96_20_@5", {3, 96, 5, 3}, {20, 96, 3, 3}, reflect},
            {"3x3_slices_192_12_@4_bf16", {3, 192, 4, 3}, {12, 192, 3, 3}, zero, true, true},
            {"3x3_window_64_10_@27_bf16", {1, 64, 27, 11}, {10, 64, 3, 3}, reflect, true, true},
            {"5x5_window_32_9_@7", {1, 32, 7, 7}, {9, 32, 5, 5}, replicate},
            // Eight blocks of a cluster for 64 outputs: one and two slices of channels, one and two products side by side,
            // rows and columns that are not there.
            {"3x3_cluster_512_64_@7_bf16", {2, 512, 7, 8}, {64, 512, 3, 3}, reflect, true, true},
            {"3x3_cluster_512_128_@5_bf16", {1, 512, 5, 20}, {128, 512, 3, 3}, zero, true, true},
            {"3x3_cluster_1024_64_@16_bf16", {1, 1024, 16, 16}, {64, 1024, 3, 3}, replicate1, true, true},
            {"5x5_cluster_512_64_@4_bf16", {1, 512, 4, 12}, {64, 512, 5, 5}, replicate, true, true},
            // Warpgroups: tiles of pixels and outputs that end early, one step of k and many.
            {"1x1_warpgroups_64_24_@5_bf16", {1, 64, 5, 3}, {24, 64, 1, 1}, bias, true, true},
            {"1x1_warpgroups_448_200_@17_bf16", {2, 448, 17, 9}, {200, 448, 1, 1}, bias, true, true},
            // Planes too large for the norm of one block, of few outputs and of many; tiles of 256 pixels.
            {"3x3_plane_8_10_@35", {1, 8, 35, 33}, {10, 8, 3, 3}, reflect},
            {"3x3_plane_8_72_@33_bf16", {1, 8, 33, 32}, {72, 8, 3, 3}, zero, true, true},
            {"3x3_plane_64_4_@33_bf16", {1, 64, 33, 32}, {4, 64, 3, 3}, reflect, true, false},
            {"1x1_large_tiles_8_140_@17", {1, 8, 17, 16}, {140, 8, 1, 1}, bias},
            {"1x1_large_tiles_16_132_@17_bf16", {1, 16, 17, 16}, {132, 16, 1, 1}, bias, true, true},
            // More steps than wgmma's stages, a last one that K does not fill; a second tile of few pixels and outputs.
            {"1x1_wgmma_328_136_@17_bf16", {1, 328, 17, 16}, {136, 328, 1, 1}, bias, true, true},
            {"3x3_wgmma_40_24_@9_bf16", {2, 40, 9, 7}, {24, 40, 3, 3}, padded_bias, true, true},
            {"3x3_plane_8_12_@30_bf16", {1, 8, 30, 23}, {12, 8, 3, 3}, reflect, true, true},
        }) {
      rows.push_back(layer_case(r, layout));
    }
  }
}

// The generator's layers, facades 512. Names of rows with bf16 operands end so.
void add_large_layers(std::vector<OpCase>& rows) {
  const ConvLayerParams reflect{.pad_mode = PadMode::reflect, .pad = 1, .norm_params = {.activation_slope = 0}};
  ConvLayerParams strided = reflect;
  strided.stride = 2;
  for (const Layout layout : {Layout::row_major, Layout::channels_last}) {
    const bool nhwc = layout == Layout::channels_last;
    for (const bool bf16 : {false, true}) {
      if (bf16 && !nhwc) continue;
      for (LayerRow r : std::vector<LayerRow>{
               {"G_3x3_1024_1024_@16", {1, 1024, 16, 16}, {1024, 1024, 3, 3}, reflect},
               {"G_1x1_1024_phi_@16", {1, 1024, 16, 16}, {nhwc ? 14856 : 14851, 1024, 1, 1}, {.norm = false}},
               {"G_3x3_s2_64_64_@256", {1, 64, 256, 256}, {64, 64, 3, 3}, strided},
               {"G_3x3_s2_64_1024_@32", {1, 64, 32, 32}, {1024, 64, 3, 3}, strided},
               {"G_3x3_labels_64_@256", {1, nhwc ? 16 : 13, 256, 256}, {64, nhwc ? 16 : 13, 3, 3}, reflect},
           }) {
        r.tolerance = 2e-5;  // up to 9216 products a sum, divided by their deviation
        r.bf16_operands = r.bf16_result = bf16;
        OpCase row = layer_case(r, layout);
        if (bf16) row.name += "_bf16";
        row.large = true;
        const Shape y = conv_layer_shape(r.x, r.w, r.params);
        row.flops = 2.0 * static_cast<double>(y.numel() * r.w.numel() / r.w[0]);
        rows.push_back(row);
      }
    }
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
  row.not_bf16 = kOwnTypes, row.row_major = kOwnLayout;
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
  add_layers(rows);
  add_large_layers(rows);
  add_mlps(rows);
  return rows;
}

}  // namespace asap::tests
